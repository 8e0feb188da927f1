"""Climbing a ladder: each rung alone for its counters, then all of them in turn beside what they stand on."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from harness import environments
from harness.data import PageRef
from harness.errors import UserError
from harness.measure import Bench, Limits, block_pages, measure
from harness.phases import probes
from harness.phases.applies import HARDWARE_RULE, unmet, variant_of
from harness.phases.ladder import Ladder, Rung
from harness.phases.pool import Look, Place, Pool, cost_of, failed, sentence
from harness.phases.schedule import ENOUGH_ROUNDS, Cost
from harness.phases.values import RungResult, RungVerdict
from harness.search.calibration import calibrated_on
from harness.space import Space
from harness.values import Failure, FailureKind, Measurement, Variant

BASELINE = "baseline"
_ALONE_PAGES = 4
_ALONE_SHARE = 0.05
"""Of the budget, for the pages of a rung alone."""
_SHORTEST_START_S = 120.0
"""Whatever the share: a first start may build or compile models, which later starts find done."""
_FIRST_LOOK_SHARE = 0.5
"""Of the time for rounds: what is clear by then leaves the rest to what is not."""
_FIRST_ROUNDS, _MOST_ROUNDS = 8, 24
"""Of a rung, at the first look and in all."""


@dataclass(slots=True)
class Climb:
    """A ladder on one machine. `device` is that of every engine."""

    ladder: Ladder
    bench: Bench
    device: str
    budget_s: float
    every_page: Sequence[PageRef] = ()
    """All pages that were given, of which those of `bench` are a sample."""
    calibration: Sequence[PageRef] = ()
    """Pages for models that are built from pages: none of those that are measured."""
    earlier: Mapping[str, RungResult] = field(default_factory=dict)
    """Results of the same ladder, pages and machine by the rung's id; what they settle is not measured again."""
    progress: Callable[[int, Sequence[RungResult]], None] = lambda *_: None
    """Told after each round how many there were, and what every rung says so far."""
    _spaces: dict[str, Space | UserError] = field(default_factory=dict)
    _read: dict[Variant, Measurement] = field(default_factory=dict)
    """What was read alone."""
    _costs: dict[Variant, Cost] = field(default_factory=dict)
    _standing: dict[tuple[str, str], Variant] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)
    _end_s: float = 0.0

    def run(self) -> Iterator[RungResult]:
        """Each rung as it is done. One that fails is a result, and the next stands on the last that could be read.

        Rungs come in as long as the budget holds enough rounds for all of them; later ones are inconclusive. Those
        whose verdict is clear half-way are done then, and the rest of the time goes to the others. These are looked
        at twice because of what they gave, so that a false verdict is up to twice as likely there as the 5 % of one
        look.
        """
        self._end_s = time.perf_counter() + self.budget_s
        pool = Pool(self.bench, self._costs, self.progress)
        looks: list[Look] = []
        for number, rung in enumerate(self.ladder.rungs):
            known = self.earlier.get(rung.id)
            place = self._place(rung, known)
            if isinstance(place, str):
                yield _done(_unmeasured(rung, RungVerdict.NOT_APPLICABLE, place))
                continue
            if known is not None and place.is_settled(known):
                result = known
                yield known
            else:
                folder = self.bench.folder / f"{number:02d}-{rung.id}"
                look = self._begun(pool, place, known, looks, folder)
                result = look.result
                if look.is_over:
                    yield _done(result)
                else:
                    looks.append(look)
            if result.failure is None or result.cold_start_s is not None:
                self._standing[place.variant.engine, rung.id] = place.variant
                self._last[place.variant.engine] = rung.id
        pool.measure(looks, _FIRST_LOOK_SHARE * self._left_s(), _FIRST_ROUNDS)
        unclear = [look for look in looks if pool.is_unclear(look)]
        yield from (_done(look.result) for look in looks if look not in unclear)
        pool.measure(unclear, self._left_s(), _MOST_ROUNDS)
        yield from (_done(look.result) for look in unclear)

    def _left_s(self) -> float:
        return self._end_s - time.perf_counter()

    def _begun(
        self, pool: Pool, place: Place, known: RungResult | None, before: Sequence[Look], folder: Path
    ) -> Look:
        """The rung with its pages read alone; over already where that fails, or where rounds would not fit.

        What an earlier run measured of it stands until two rounds say more.
        """
        result = _unmeasured(place.rung, RungVerdict.INCONCLUSIVE, "No two rounds of it were measured.")
        if known is not None and known.gain and place.is_of(known):
            result = replace(known, is_done=False, failure=None)
        look = Look(place, replace(result, variant=place.variant, previous=place.under))
        if not self._is_affordable(pool, [*before, look]):
            return _without_time(look)
        # What it is compared with may have been read in an earlier run only: what that costs is to be known.
        if place.baseline not in self._costs:
            self._alone(place.baseline, self._baseline_folder(place.baseline.engine))
        outcome = self._alone(place.variant, folder)
        if isinstance(outcome, Failure):
            return _ended(look, outcome)
        look.result = replace(
            look.result,
            counters=_counters(outcome),
            stage_ms=outcome.stage_ms,
            cold_start_s=outcome.cold_start_s,
        )
        if before and not self._is_affordable(pool, [*before, look]):  # what it costs is known only now
            return _without_time(look)
        return look

    def _is_affordable(self, pool: Pool, looks: Sequence[Look]) -> bool:
        """Whether there is time for enough rounds of all of them; for the first, any time is enough.

        Less would be spent for nothing: better to measure the first rungs of a ladder and leave the last to a longer
        budget than to give all too little.
        """
        return self._left_s() > (ENOUGH_ROUNDS * pool.shortest_s(looks) if len(looks) > 1 else 0.0)

    def _place(self, rung: Rung, known: RungResult | None) -> Place | str:
        """Where the rung stands, or the sentence why it cannot be measured here."""
        if reason := unmet(rung, self.bench.machine):
            return reason
        if rung.probe:
            return known.reason if known is not None else self._probed(rung)
        chosen = variant_of(
            self.ladder, rung, self._space, lambda engine: self._previous(rung, engine)[0], self.bench.machine
        )
        if isinstance(chosen, str):
            return chosen
        if known is not None and known.variant is not None and HARDWARE_RULE in rung.settings.values():
            chosen = known.variant  # the memory that was free then decided it
        previous, under = self._previous(rung, chosen.engine)
        return Place(rung, chosen, previous, self._baseline(chosen.engine), under)

    def _previous(self, rung: Rung, engine: str) -> tuple[Variant, str]:
        """What the rung would stand on: the baseline where the named rung is none of this engine's."""
        name = rung.beside or self._last.get(engine, BASELINE)
        if (engine, name) not in self._standing:
            name = BASELINE
        under = self._standing.get((engine, name)) or self._baseline(engine)
        given = rung.given.get(engine)
        return (self._space(engine).suggested({**under.settings, **given}) if given else under), name

    def _baseline(self, engine: str) -> Variant:
        return self._space(engine).variant(self.ladder.baseline.get(engine, {}))

    def _space(self, engine: str) -> Space:
        """The space of an engine whose baseline works here. Raises UserError, each time the same."""
        if engine not in self._spaces:
            try:
                self._spaces[engine] = self._opened(engine)
            except UserError as error:
                self._spaces[engine] = error
        space = self._spaces[engine]
        if isinstance(space, UserError):
            raise space
        return space

    def _opened(self, engine: str) -> Space:
        if engine not in environments.names():
            raise UserError(f"The engine {engine} is not installed")
        space = Space.of(engine, self.device, self.bench.machine)
        if self.calibration:
            space = calibrated_on(space, self.calibration)
        baseline = space.variant(self.ladder.baseline.get(engine, {}))
        # Where rungs have been compared with it already, it works.
        if not any(known.total and known.total.a == baseline for known in self.earlier.values()):
            self._measured_baseline(engine, baseline)
        return space

    def _measured_baseline(self, engine: str, baseline: Variant) -> Measurement:
        """The baseline alone, once. Raises UserError where it fails."""
        outcome = self._alone(baseline, self._baseline_folder(engine))
        if isinstance(outcome, Failure):
            raise UserError(f"The baseline of {engine} fails here: {sentence(outcome)}")
        return outcome

    def _baseline_folder(self, engine: str) -> Path:
        return self.bench.folder / f"{BASELINE}-{engine}"

    def _probed(self, rung: Rung) -> str:
        """What the rung's probe finds out, on the first engine of the ladder that works here."""
        assert rung.probe is not None  # noqa: S101  the caller looked
        reasons = []
        for engine in self.ladder.engines:
            try:
                space = self._space(engine)
                measured = self._measured_baseline(engine, self._baseline(engine))
            except UserError as error:
                reasons.append(str(error).rstrip("."))
                continue
            facts = probes.Facts(
                machine=self.bench.machine,
                every_page=self.every_page or self.bench.pages,
                pages=self.bench.pages,
                references=self.bench.references,
                space=space,
                measured=measured,
            )
            return probes.found(rung.probe, facts)
        return f"No engine of this ladder works here. {' '.join(f'{reason}.' for reason in reasons)}"

    def _alone(self, variant: Variant, folder: Path) -> Measurement | Failure:
        """A few pages by one variant, once, for its counters, its stages and its cost."""
        if variant in self._read:
            return self._read[variant]
        began_s = time.perf_counter()
        share_s = _ALONE_SHARE * self.budget_s
        # Whole blocks, so that every replica has something to do.
        block = block_pages([variant])
        pages = [i % len(self.bench.pages) for i in range(max(_ALONE_PAGES, block))]
        outcome, _ = measure(
            replace(self.bench, folder=folder),
            variant,
            [pages[i : i + block] for i in range(0, len(pages), block)],
            Limits(max(_SHORTEST_START_S, share_s)),
            stop=lambda _: "its share is spent" if time.perf_counter() - began_s > share_s else None,
        )
        if isinstance(outcome, Measurement):
            self._read[variant] = outcome
            self._costs[variant] = cost_of(outcome.cold_start_s - outcome.build_s, outcome.blocks)
        return outcome


def _done(result: RungResult) -> RungResult:
    return replace(result, is_done=True)


def _ended(look: Look, failure: Failure) -> Look:
    """Over, as its pages alone failed. One that took too long may be done in a longer budget."""
    result = failed(look.result, failure)
    if failure.kind is FailureKind.TIMEOUT:
        result = replace(result, verdict=RungVerdict.INCONCLUSIVE)
    return replace(look, result=result, is_over=True)


def _without_time(look: Look) -> Look:
    """Over, with what an earlier run said of it."""
    reason = look.result.reason if look.result.gain else "The budget has no room for enough rounds of it."
    return replace(look, result=replace(look.result, reason=reason), is_over=True)


def _unmeasured(rung: Rung, kind: RungVerdict, reason: str) -> RungResult:
    return RungResult(rung.id, rung.technique, rung.claim.text, kind, rung.claim.range, rung.quantity, reason)


def _counters(measured: Measurement) -> dict[str, float]:
    names = sorted({name for sample in measured.samples for name in sample.values})
    return {
        name: fmean(sample.values[name] for sample in measured.samples if name in sample.values)
        for name in names
    }
