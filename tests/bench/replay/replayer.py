"""A laboratory that answers from a table, on a clock of its own: hours of search in seconds.

Each process draws one of its variant's rounds, for its start, its edits and its failure. How far its speed is from
the variant's true one (`pooling`) it draws from what all rounds of the table deviate by: what sets one process apart
from the next does not average out over its blocks. A block's time is that of its pages in the drawn round, times the
busy over page seconds of that round, which is what replicas side by side make of it; what filling its end took is
paid for too. A block shorter than the recorded pass keeps all replicas busy only because `block_pages` makes it long
enough.
Two sides of a round draw independently, where live ones share the machine's mood: the replay is the noisier of the
two.

The text of a page is stood in for by one with the same number of edits, so that scores, intervals and gates are
the real ones.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from engines.interface import Line, Setting
from harness import stats
from harness.data import PageRef
from harness.measure import Bench, Limits, SideFailedError, block_pages, cut, cut_short
from harness.search.plan import Split
from harness.space import Space
from harness.values import Block, Failure, FailureKind, Measurement, PageRecord, ReferencePage, Round, Variant
from tests.bench.replay.table import Reading, Row, Table

PROFILE = "strict"


class Replay:
    """A `Lab` over the pages of a table that a search may see.

    Names decide which of them are kept for the proof: those of another `sample` are of other documents.
    """

    def __init__(self, table: Table, seed: int, sample: int = 0) -> None:
        self.table = table
        self._draw = random.Random(f"{seed}/replay")
        self._now_s = 0.0
        self._built: set[tuple[Setting | None, ...]] = set()
        self._seen = [i for i, page in enumerate(table.head.pages) if not page.unseen]
        shown = [table.head.pages[i] for i in self._seen]
        self.pages = tuple(
            PageRef(
                p.id,
                p.set,
                f"{sample}/{p.document}",
                "",
                0,
                "image",
                "a" * p.reference_chars,
                PROFILE,
                p.language,
            )
            for p in shown
        )
        self.references = tuple(
            ReferencePage(
                p.id, p.set, f"{sample}/{p.document}", "a" * p.reference_chars, PROFILE, language=p.language
            )
            for p in shown
        )

    @property
    def label(self) -> str:
        """A table is of one device."""
        return ""

    def now_s(self) -> float:
        """What the replayed measurements took so far, in seconds; thinking is free."""
        return self._now_s

    def prepared(self, space: Space, pages: Sequence[PageRef], split: Split) -> Space:
        """The space itself: models were built when the table was recorded."""
        return space

    def noise(
        self,
        bench: Bench,
        variant: Variant,
        block: Sequence[int],
        *,
        key: str,
        trial_s: float,
        budget_s: float,
    ) -> None:
        """Not known beforehand."""

    def measure(
        self,
        bench: Bench,
        variant: Variant,
        blocks: Sequence[Sequence[int]],
        limits: Limits,
        *,
        stop: Callable[[Sequence[Block]], str | None] = lambda _: None,
    ) -> tuple[Measurement | Failure, str]:
        """As `harness.measure.measure`, from the table."""
        until_s = self._now_s + limits.trial_s
        done: list[Block] = []
        note = ""
        try:
            reading, build_s = self._start(variant, until_s)
            cold_s = reading.cold_start_s + build_s
            for block in blocks:
                done.append(
                    self._read(reading, block, min(until_s, self._now_s + limits.page_s * len(block)))
                )
                if reason := stop(done):
                    note = reason
                    break
        except _FailedError as failed:
            if self._now_s < until_s:
                return failed.failure, note
            note = cut_short(done)
            if not done:
                return failed.failure, note
        return Measurement(cold_s, tuple(done), build_s=build_s), note

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        """As `harness.measure.interleaved_round`, from the table. Raises SideFailedError."""
        size = min(block_pages(variants), len(pages))
        hand = cut(pages, size)
        cold_s: list[float] = []
        blocks: list[tuple[Block, ...]] = []
        for side, variant in enumerate(variants):
            try:
                reading, build_s = self._start(variant, math.inf)
                cold_s.append(reading.cold_start_s + build_s)
                blocks.append(tuple(self._read(reading, block, math.inf) for block in hand))
            except _FailedError as failed:
                raise SideFailedError(side, failed.failure) from failed
        ratios = tuple(
            stats.round_value([math.log(a.busy_s / b.busy_s) for a, b in zip(blocks[0], other, strict=True)])
            for other in blocks[1:]
        )
        return Round(tuple(blocks), tuple(cold_s), ratios)

    def row(self, variant: Variant) -> Row:
        """The row of a variant. Raises KeyError for one that the table lacks."""
        return self.table.by_id[variant.id]

    def _start(self, variant: Variant, until_s: float) -> tuple[Reading, float]:
        """What the process will read, and the seconds that it builds before."""
        row = self.row(variant)
        reading = self._draw.choice(row.rounds)
        if reading.failure is not None:
            self._pass(reading.spent_s, until_s, "open")
            raise _FailedError(reading.failure)
        artefact = self.table.artefact(row)
        build_s = 0.0 if artefact in self._built else self.table.builds[artefact]
        self._pass(reading.cold_start_s + build_s, until_s, "open")
        self._built.add(artefact)
        return self._drawn(row, self.table.whole(reading)), build_s

    def _drawn(self, row: Row, reading: Reading) -> Reading:
        """The reading at the speed that this process has, as recorded where only some pages were read."""
        log_speed = self.table.pooled.get(self.table.variant(row).id)
        if log_speed is None:
            return reading
        log_speed += self._draw.choice(self.table.deviations)
        factor = len(reading.page_s) / math.exp(log_speed) / reading.busy_s
        return replace(
            reading,
            wall_s=factor * reading.busy_s + sum(reading.spare_s),
            page_s=tuple(factor * seconds for seconds in reading.page_s),
            stage_s={stage: factor * seconds for stage, seconds in reading.stage_s.items()},
        )

    def _read(self, reading: Reading, block: Sequence[int], until_s: float) -> Block:
        places = [self._seen[index] for index in block]
        busy_s = reading.busy_s / sum(reading.page_s) * sum(reading.page_s[i] for i in places)
        spare_s = fmean(reading.spare_s or (0.0,))
        self._pass(busy_s + spare_s, until_s, "read")
        return Block(tuple(self._record(reading, i) for i in places), busy_s + spare_s, spare_s=spare_s)

    def _record(self, reading: Reading, place: int) -> PageRecord:
        page = self.table.head.pages[place]
        text = with_edits(page.reference_chars, reading.errors[place])
        share = reading.page_s[place] / sum(reading.page_s)
        stage_s = {stage: share * seconds for stage, seconds in reading.stage_s.items()}
        return PageRecord(page.id, (Line(text),) if text else (), reading.page_s[place], stage_s)

    def _pass(self, seconds: float, until_s: float, stage: str) -> None:
        if self._now_s + seconds > until_s:
            self._now_s = until_s
            raise _FailedError(Failure(FailureKind.TIMEOUT, stage, "took longer than its deadline"))
        self._now_s += seconds


def with_edits(length: int, edits: int) -> str:
    """A text that `edits` edits separate from `length` times the letter a."""
    return "b" * edits + "a" * max(0, length - edits)


class _FailedError(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
