"""Where a search measures and whose clock it lives by: this machine, or a table of what one once did."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from harness import measure as live
from harness.data import PageRef
from harness.measure import SLOWEST_PAGE_S, Bench
from harness.search.calibration import calibrated
from harness.search.plan import Split
from harness.space import Space
from harness.values import Block, Failure, Measurement, Round, Variant


class Lab(Protocol):
    """What a search asks of the world."""

    def now_s(self) -> float:
        """Seconds on a clock that only goes forward."""

    def prepared(self, space: Space, pages: Sequence[PageRef], split: Split) -> Space:
        """The space after the engine has seen what it may build models from."""

    def measure(
        self,
        bench: Bench,
        variant: Variant,
        blocks: Sequence[Sequence[int]],
        *,
        deadline_s: float,
        page_s: float = SLOWEST_PAGE_S,
        stop: Callable[[Sequence[Block]], str | None],
    ) -> tuple[Measurement | Failure, str]:
        """As `harness.measure.measure`."""

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int
    ) -> Round:
        """As `harness.measure.interleaved_round`."""


class ThisMachine:
    """Fresh processes on this machine, by the wall clock."""

    def now_s(self) -> float:
        """The monotonic clock of this process."""
        return time.perf_counter()

    def prepared(self, space: Space, pages: Sequence[PageRef], split: Split) -> Space:
        """The space after the engine has kept a few pages of the search."""
        return calibrated(space, pages, split)

    def measure(
        self,
        bench: Bench,
        variant: Variant,
        blocks: Sequence[Sequence[int]],
        *,
        deadline_s: float,
        page_s: float = SLOWEST_PAGE_S,
        stop: Callable[[Sequence[Block]], str | None],
    ) -> tuple[Measurement | Failure, str]:
        """One variant alone."""
        return live.measure(bench, variant, blocks, deadline_s=deadline_s, page_s=page_s, stop=stop)

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int
    ) -> Round:
        """Several side by side."""
        return live.interleaved_round(bench, variants, pages, number)
