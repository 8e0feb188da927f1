"""Climbing a ladder: each rung alone for its counters, then interleaved with its previous and the baseline."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean

from harness.measure import (
    Bench,
    SideFailedError,
    block_pages,
    comparison,
    interleaved_round,
    measure,
    round_pages,
)
from harness.phases.applies import unmet, variant_of
from harness.phases.ladder import Ladder, Rung
from harness.phases.values import RungResult, RungVerdict, verdict
from harness.space import Space
from harness.values import Failure, Measurement, Round, Variant

ROUNDS = 4
"""At most; the number depends on the time alone, never on what was measured, so that Student's interval holds."""
_ALONE_PAGES = 4


@dataclass(frozen=True, slots=True)
class Climb:
    """A ladder on one machine. `device` is that of every engine."""

    ladder: Ladder
    bench: Bench
    device: str
    budget_s: float

    def run(self) -> Iterator[RungResult]:
        """Each rung as it is done. A rung that fails is a result, and the next one stands on the last that worked.

        Once the budget is spent, the rungs that are left are inconclusive.
        """
        end_s = time.perf_counter() + self.budget_s
        standing: dict[tuple[str, str], Variant] = {}
        last: dict[str, str] = {}
        measurable = sum(
            not rung.covered and unmet(rung, self.bench.machine) is None for rung in self.ladder.rungs
        )
        for number, rung in enumerate(self.ladder.rungs):
            if rung.covered or unmet(rung, self.bench.machine):
                reason = rung.covered or unmet(rung, self.bench.machine) or ""
                kind = RungVerdict.COVERED if rung.covered else RungVerdict.NOT_APPLICABLE
                yield _unmeasured(rung, kind, reason)
                continue
            share_s = (end_s - time.perf_counter()) / max(1, measurable)
            measurable -= 1

            def previous(engine: str, rung: Rung = rung) -> Variant:
                name = rung.beside or last.get(engine, "baseline")
                return standing.get((engine, name)) or self._baseline(engine)

            variant = variant_of(self.ladder, rung, previous, self.bench.machine)
            if isinstance(variant, str):
                yield _unmeasured(rung, RungVerdict.NOT_APPLICABLE, variant)
                continue
            engine = variant.engine
            under = rung.beside or last.get(engine, "baseline")
            sides = (self._baseline(engine), previous(engine), variant)
            result = replace(self._measured(rung, sides, share_s, number), previous=under)
            if result.failure is None:
                standing[engine, rung.id] = variant
                last[engine] = rung.id
            yield result

    def _baseline(self, engine: str) -> Variant:
        space = Space.of(engine, self.device, self.bench.machine)
        return space.variant(self.ladder.baseline.get(engine, {}))

    def _measured(
        self, rung: Rung, sides: tuple[Variant, Variant, Variant], share_s: float, number: int
    ) -> RungResult:
        baseline, previous, variant = sides
        began_s = time.perf_counter()
        result = replace(_unmeasured(rung, RungVerdict.INCONCLUSIVE, ""), variant=variant)
        if share_s <= 0:
            return replace(result, reason="The budget was spent before this rung.")
        bench = replace(self.bench, folder=self.bench.folder / f"{number:02d}-{rung.id}")
        # A whole block, so that every replica has something to do.
        pages = range(min(len(bench.pages), max(_ALONE_PAGES, block_pages([variant]))))
        outcome, _ = measure(replace(bench, folder=bench.folder / "alone"), variant, [pages], deadline_s=120)
        if isinstance(outcome, Failure):
            return _failed(result, outcome)
        result = replace(
            result,
            counters=_counters(outcome),
            stage_ms=_stage_ms(outcome),
            cold_start_s=outcome.cold_start_s,
        )
        others = (baseline,) if previous == baseline else (previous, baseline)
        left_s = share_s - (time.perf_counter() - began_s)
        try:
            rounds = _rounds(bench, (*others, variant), left_s)
        except SideFailedError as error:
            if error.side == len(others):
                return _failed(result, error.failure)
            return replace(result, reason=f"What it is compared with failed: {error.failure.message}.")
        return _judged(result, bench, (*others, variant), rounds, rung.claim.low)


def _rounds(bench: Bench, sides: Sequence[Variant], budget_s: float) -> list[Round]:
    """Rounds until the next would overrun the budget, one at least. Raises SideFailedError."""
    began_s, rounds = time.perf_counter(), list[Round]()
    hands = round_pages(len(bench.pages), sides, bench.seed, ROUNDS)
    for number, pages in zip(count(), hands, strict=False):
        rounds.append(interleaved_round(bench, sides, pages, number))
        spent_s = time.perf_counter() - began_s
        if number + 1 == ROUNDS or spent_s * (number + 2) / (number + 1) > budget_s:
            break
    return rounds


def _judged(
    result: RungResult, bench: Bench, sides: Sequence[Variant], rounds: Sequence[Round], claimed: float | None
) -> RungResult:
    side = len(sides) - 1
    gain = comparison(bench, sides[0], sides[-1], rounds, side, sequential=False)
    # Side 0 is the previous rung; log(t_baseline / t_rung) is the difference of the other two ratios.
    total = (
        gain
        if side == 1
        else comparison(bench, sides[1], sides[-1], _seen_from(rounds, 1), side, sequential=False)
    )
    return replace(
        result,
        gain=gain,
        total=total,
        verdict=verdict(gain.speedup, gain.cer_increase, claimed),
        reason="" if len(rounds) > 1 else "The budget allowed one round, which has no interval.",
    )


def _seen_from(rounds: Sequence[Round], first: int) -> list[Round]:
    """The same rounds of three sides with side `first` and side 0 changed places."""
    return [
        Round(
            (item.blocks[first], item.blocks[0], item.blocks[2]),
            (item.cold_start_s[first], item.cold_start_s[0], item.cold_start_s[2]),
            (-item.log_ratios[0], item.log_ratios[1] - item.log_ratios[0]),
        )
        for item in rounds
    ]


def _unmeasured(rung: Rung, kind: RungVerdict, reason: str) -> RungResult:
    return RungResult(rung.id, rung.technique, rung.claim.text, kind, rung.claim.range, reason)


def _failed(result: RungResult, failure: Failure) -> RungResult:
    return replace(
        result,
        verdict=RungVerdict.FAILED,
        failure=failure,
        reason=f"{failure.kind.value} in {failure.stage}: {failure.message}",
    )


def _counters(measured: Measurement) -> dict[str, float]:
    names = sorted({name for sample in measured.samples for name in sample.values})
    return {
        name: fmean(sample.values[name] for sample in measured.samples if name in sample.values)
        for name in names
    }


def _stage_ms(measured: Measurement) -> dict[str, float]:
    names = dict.fromkeys(name for page in measured.pages for name in page.stage_s)
    return {name: 1000 * fmean(page.stage_s.get(name, 0.0) for page in measured.pages) for name in names}
