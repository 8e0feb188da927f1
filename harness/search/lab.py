"""Where a search measures and whose clock it lives by: this machine, or a table of what one once did."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from harness import measure as live
from harness.data import PageRef
from harness.devices import Device
from harness.measure import Bench, Limits
from harness.search import noise
from harness.search.calibration import calibrated
from harness.search.noise import Noise
from harness.search.plan import Split
from harness.space import Space
from harness.values import Block, Failure, Measurement, Round, Variant


class Lab(Protocol):
    """What a search asks of the world."""

    @property
    def label(self) -> str:
        """The device that it measures on, where the user named several; else empty."""

    def now_s(self) -> float:
        """Seconds on a clock that only goes forward."""

    def prepared(self, space: Space, pages: Sequence[PageRef], split: Split) -> Space:
        """The space after the engine has seen what it may build models from."""

    def noise(
        self,
        bench: Bench,
        variant: Variant,
        block: Sequence[int],
        *,
        key: str,
        trial_s: float,
        budget_s: float,
    ) -> Noise | None:
        """How much trials differ for nothing; None where that is not known. `key` names what it holds for."""

    def measure(
        self,
        bench: Bench,
        variant: Variant,
        blocks: Sequence[Sequence[int]],
        limits: Limits,
        *,
        stop: Callable[[Sequence[Block]], str | None],
    ) -> tuple[Measurement | Failure, str]:
        """As `harness.measure.measure`."""

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        """As `harness.measure.interleaved_round`."""


class ThisMachine:
    """Fresh processes on this machine, or on one of several devices of it, by the wall clock."""

    def __init__(self, device: Device | None = None) -> None:
        self._device = device

    @property
    def label(self) -> str:
        """As the user named the device."""
        return self._device.label if self._device else ""

    def now_s(self) -> float:
        """The monotonic clock of this process."""
        return time.perf_counter()

    def prepared(self, space: Space, pages: Sequence[PageRef], split: Split) -> Space:
        """The space after the engine has kept a few pages of the search."""
        return calibrated(space, pages, split)

    def noise(
        self,
        bench: Bench,
        variant: Variant,
        block: Sequence[int],
        *,
        key: str,
        trial_s: float,
        budget_s: float,
    ) -> Noise | None:
        """What an earlier run found, else what a few trials say where `budget_s`, in seconds, has room for them."""
        if found := noise.known(key):
            return found
        with self._at(bench) as here:
            found = noise.measured(here, self._moved(variant), block, trial_s=trial_s, budget_s=budget_s)
        if found:
            noise.keep(key, found)
        return found

    def measure(
        self,
        bench: Bench,
        variant: Variant,
        blocks: Sequence[Sequence[int]],
        limits: Limits,
        *,
        stop: Callable[[Sequence[Block]], str | None],
    ) -> tuple[Measurement | Failure, str]:
        """One variant alone."""
        with self._at(bench) as here:
            return live.measure(here, self._moved(variant), blocks, limits, stop=stop)

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        """Several side by side."""
        with self._at(bench) as here:
            moved = [self._moved(variant) for variant in variants]
            return live.interleaved_round(here, moved, pages, number, limits=limits)

    @contextmanager
    def _at(self, bench: Bench) -> Iterator[Bench]:
        if self._device is None:
            yield bench
            return
        with self._device.confined():
            yield replace(bench, machine=self._device.seen_from(bench.machine))

    def _moved(self, variant: Variant) -> Variant:
        return replace(variant, device=self._device.name) if self._device else variant
