"""Climbing a ladder: each rung alone for its counters, then interleaved with its previous and the baseline."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median

from harness import environments, stats
from harness.comparing import Deck, comparison
from harness.data import PageRef
from harness.errors import UserError
from harness.measure import Bench, Limits, SideFailedError, block_pages, interleaved_round, measure
from harness.phases import probes
from harness.phases.applies import unmet, variant_of
from harness.phases.ladder import Ladder, Rung
from harness.phases.schedule import MOST_ROUNDS, Cost, Rounds, enough_s, plan_rounds
from harness.phases.values import Quantity, RungResult, RungVerdict, verdict
from harness.search.calibration import calibrated_on
from harness.space import Space
from harness.values import Block, Comparison, Failure, FailureKind, Measurement, Round, Variant

BASELINE = "baseline"
_ALONE_PAGES = 4
_ALONE_SHARE = 0.25
"""Of a rung's time, for its pages alone."""
_FEWEST_ROUNDS = 2
"""An interval needs two."""
_SHORTEST_START_S = 120.0
"""Whatever the share: a first start may build or compile models, which later starts find done."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A rung that can be measured, and what it is compared with."""

    rung: Rung
    variant: Variant
    previous: Variant
    baseline: Variant
    under: str
    """The name of the previous rung."""

    @property
    def sides(self) -> tuple[Variant, ...]:
        """The previous rung, the baseline where that is another, and last the rung; it alone for its first page."""
        if self.rung.quantity is Quantity.FIRST_PAGE:
            return (self.variant,)
        return (*dict.fromkeys((self.previous, self.baseline)), self.variant)

    def is_settled(self, known: RungResult) -> bool:
        """Whether `known` says all of this rung that measuring it again would."""
        if known.verdict is RungVerdict.INCONCLUSIVE or known.variant != self.variant:
            return False
        if known.gain is None:
            return True
        return known.gain.a == self.previous and (known.total is None or known.total.a == self.baseline)


@dataclass(slots=True)
class _Look:
    """A rung that is being measured: what its pages alone gave, and its rounds so far.

    Rungs with the same sides share the rounds.
    """

    place: _Place
    folder: Path
    deck: Deck
    result: RungResult
    rounds: list[Round] = field(default_factory=list)
    pages: int = 0
    """Of the last round."""
    most_rounds: int = MOST_ROUNDS
    judged_rounds: int = 0
    """That the last verdict is of: a rung with the same sides may have added more."""

    @property
    def is_begun(self) -> bool:
        """Whether its pages have been read alone."""
        return self.result.cold_start_s is not None


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
    _spaces: dict[str, Space | UserError] = field(default_factory=dict)
    _baselines: dict[str, Measurement] = field(default_factory=dict)
    _costs: dict[Variant, Cost] = field(default_factory=dict)
    _standing: dict[tuple[str, str], Variant] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)
    _looks: dict[tuple[Variant, ...], _Look] = field(default_factory=dict)
    """By the sides."""
    _end_s: float = 0.0

    def run(self) -> Iterator[RungResult]:
        """Each rung as it is done. A rung that fails is a result, and the next one stands on the last that worked.

        What is left of the budget is divided evenly among the rungs that are left to measure, but none is given
        too little for an interval; once it is spent, the others are inconclusive. What the last rung leaves over goes
        to those whose verdict is inconclusive or a close call: each comes again with what all of its rounds say.
        """
        self._end_s = time.perf_counter() + self.budget_s
        unknown: list[_Look] = []
        close: list[_Look] = []
        for number, rung in enumerate(self.ladder.rungs):
            known = self.earlier.get(rung.id)
            place = self._place(rung, known)
            if isinstance(place, str):
                yield _unmeasured(rung, RungVerdict.NOT_APPLICABLE, place)
                continue
            if known is not None and place.is_settled(known):
                result = known
            else:
                left = sum(self._is_to_measure(item) for item in self.ladder.rungs[number:])
                share_s = max(self._left_s() / max(1, left), self._enough_s(place))
                look = self._look(place, self.bench.folder / f"{number:02d}-{rung.id}")
                result = self._measured(look, share_s)
                if result.verdict is RungVerdict.INCONCLUSIVE and result.failure is None:
                    unknown.append(look)
                elif result.is_close_call:
                    close.append(look)
            if result.failure is None:
                self._standing[place.variant.engine, rung.id] = place.variant
                self._last[place.variant.engine] = rung.id
            yield result
        yield from self._again(unknown)
        yield from self._again(close)

    def _left_s(self) -> float:
        return self._end_s - time.perf_counter()

    def _again(self, looks: Sequence[_Look]) -> Iterator[RungResult]:
        """Those for which there is time, by their earlier rounds and as many more.

        A rung is looked at twice because of what it gave, so that a false verdict is up to twice as likely there as
        the 5 % of one look.
        """
        for number, look in enumerate(looks):
            share_s = self._left_s() / (len(looks) - number)
            if not look.is_begun and share_s < self._enough_s(look.place):
                continue
            look.most_rounds += MOST_ROUNDS
            judged = look.judged_rounds
            result = self._measured(look, share_s)
            if result.failure is not None or look.judged_rounds > judged:
                yield result

    def _look(self, place: _Place, folder: Path) -> _Look:
        """A look that goes on with the rounds of an earlier rung where that has the same sides."""
        result = replace(
            _unmeasured(place.rung, RungVerdict.INCONCLUSIVE, ""), variant=place.variant, previous=place.under
        )
        same = self._looks.get(place.sides)
        if same and same.is_begun:
            alone = same.result
            result = replace(
                result, counters=alone.counters, stage_ms=alone.stage_ms, cold_start_s=alone.cold_start_s
            )
            return replace(same, place=place, result=result, judged_rounds=0)
        look = _Look(place, folder, Deck(len(self.bench.pages), self.bench.seed), result)
        self._looks[place.sides] = look
        return look

    def _is_to_measure(self, rung: Rung) -> bool:
        known = self.earlier.get(rung.id)
        is_known = known is not None and known.verdict is not RungVerdict.INCONCLUSIVE
        return not (rung.probe or unmet(rung, self.bench.machine) or is_known)

    def _enough_s(self, place: _Place) -> float:
        """What the rung needs at least, by what its sides have cost so far, in seconds."""
        usual = self._costs.get(place.baseline, Cost(0.0, 0.0))
        return enough_s([self._costs.get(side, usual) for side in place.sides], block_pages(place.sides))

    def _place(self, rung: Rung, known: RungResult | None) -> _Place | str:
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
        previous, under = self._previous(rung, chosen.engine)
        return _Place(rung, chosen, previous, self._baseline(chosen.engine), under)

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
        if engine not in self._baselines:
            outcome = self._alone(baseline, self.bench.folder / f"{BASELINE}-{engine}", self.budget_s)
            if isinstance(outcome, Failure):
                raise UserError(f"The baseline of {engine} fails here: {_sentence(outcome)}")
            self._baselines[engine] = outcome
        return self._baselines[engine]

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

    def _alone(self, variant: Variant, folder: Path, share_s: float) -> Measurement | Failure:
        """A few pages by one variant, for its counters, its stages and its cost."""
        began_s = time.perf_counter()
        # Whole blocks, so that every replica has something to do.
        block = block_pages([variant])
        pages = [i % len(self.bench.pages) for i in range(max(_ALONE_PAGES, block))]
        outcome, _ = measure(
            replace(self.bench, folder=folder),
            variant,
            [pages[i : i + block] for i in range(0, len(pages), block)],
            Limits(max(_SHORTEST_START_S, share_s)),
            stop=lambda _: (
                "its share is spent" if time.perf_counter() - began_s > _ALONE_SHARE * share_s else None
            ),
        )
        if isinstance(outcome, Measurement):
            self._costs[variant] = _cost(outcome.cold_start_s - outcome.build_s, outcome.blocks)
        return outcome

    def _measured(self, look: _Look, share_s: float) -> RungResult:
        """The rung after `share_s` seconds more, or what is left of the budget."""
        share_s = min(share_s, self._left_s())
        end_s = time.perf_counter() + share_s
        if share_s <= 0:
            return replace(look.result, reason="The budget was spent before this rung.")
        if not look.is_begun:
            outcome = self._alone(look.place.variant, look.folder / "alone", share_s)
            if isinstance(outcome, Failure):
                return _failed(look.result, outcome)
            look.result = replace(
                look.result,
                counters=_counters(outcome),
                stage_ms=_stage_ms(outcome),
                cold_start_s=outcome.cold_start_s,
            )
            # What it costs is known only now.
            end_s = min(self._end_s, max(end_s, time.perf_counter() + self._enough_s(look.place)))
        bench, sides = replace(self.bench, folder=look.folder), look.place.sides
        try:
            while (plan := self._plan(look, end_s)).rounds:
                pages, look.pages = look.deck.draw(plan.pages), plan.pages
                look.rounds.append(interleaved_round(bench, sides, pages, len(look.rounds)))
                last = look.rounds[-1]
                self._costs.update(zip(sides, map(_cost, last.cold_start_s, last.blocks), strict=True))
        except SideFailedError as error:
            if error.side == len(sides) - 1:
                return _failed(look.result, error.failure)
            return replace(look.result, reason=f"What it is compared with failed: {_sentence(error.failure)}")
        if len(look.rounds) < _FEWEST_ROUNDS:
            return replace(look.result, reason="Its share of the budget was too short for two rounds.")
        look.judged_rounds = len(look.rounds)
        return _judged(look.result, bench, look.place, look.rounds)

    def _plan(self, look: _Look, end_s: float) -> Rounds:
        """The rounds that are still to be measured until `end_s`."""
        sides = look.place.sides
        own = self._costs[look.place.variant]
        costs = [self._costs.get(side, own) for side in sides]
        left_s = end_s - time.perf_counter()
        done = Rounds(len(look.rounds), look.pages)
        return plan_rounds(left_s, costs, block_pages(sides), done, look.most_rounds)


def _judged(result: RungResult, bench: Bench, place: _Place, rounds: Sequence[Round]) -> RungResult:
    sides, own = place.sides, len(place.sides) - 1
    quantity, claim = place.rung.quantity, place.rung.claim

    def against(side: int) -> Comparison:
        pairs = [_pair(item, side, own, quantity) for item in rounds]
        return comparison(bench, sides[side], place.variant, pairs, 1, sequential=False)

    gain = against(0)
    has_total = quantity is not Quantity.FIRST_PAGE
    return replace(
        result,
        gain=gain,
        total=against(sides.index(place.baseline)) if has_total else None,
        verdict=verdict(gain.speedup, gain.cer_increase, claim.low),
    )


def _cost(start_s: float, blocks: Sequence[Block]) -> Cost:
    return Cost(start_s, sum(block.wall_s for block in blocks) / sum(len(block.pages) for block in blocks))


def _pair(item: Round, a: int, b: int, quantity: Quantity) -> Round:
    """Sides `a` and `b` of a round, with the log-ratio of the quantity as B's gain over A."""
    if quantity is Quantity.THROUGHPUT:
        value = stats.round_value(
            [math.log(x.wall_s / y.wall_s) for x, y in zip(item.blocks[a], item.blocks[b], strict=True)]
        )
    elif quantity is Quantity.COLD_START:
        value = math.log(item.cold_start_s[a] / item.cold_start_s[b])
    else:
        value = math.log(item.cold_start_s[b] / median(x.wall_s / len(x.pages) for x in item.blocks[b]))
    return Round((item.blocks[a], item.blocks[b]), (item.cold_start_s[a], item.cold_start_s[b]), (value,))


def _unmeasured(rung: Rung, kind: RungVerdict, reason: str) -> RungResult:
    return RungResult(rung.id, rung.technique, rung.claim.text, kind, rung.claim.range, rung.quantity, reason)


def _failed(result: RungResult, failure: Failure) -> RungResult:
    """What a failure says of the rung: a device that lacks it, a budget that is too short for it, or a fault."""
    kinds = {
        FailureKind.UNSUPPORTED: RungVerdict.NOT_APPLICABLE,
        FailureKind.TIMEOUT: RungVerdict.INCONCLUSIVE,
    }
    return replace(
        result,
        verdict=kinds.get(failure.kind, RungVerdict.FAILED),
        failure=failure,
        reason=f"{failure.kind.value} in {failure.stage}: {_sentence(failure)}",
    )


def _sentence(failure: Failure) -> str:
    return f"{failure.message.rstrip('.')}."


def _counters(measured: Measurement) -> dict[str, float]:
    names = sorted({name for sample in measured.samples for name in sample.values})
    return {
        name: fmean(sample.values[name] for sample in measured.samples if name in sample.values)
        for name in names
    }


def _stage_ms(measured: Measurement) -> dict[str, float]:
    names = dict.fromkeys(name for page in measured.pages for name in page.stage_s)
    return {name: 1000 * fmean(page.stage_s.get(name, 0.0) for page in measured.pages) for name in names}
