"""Rungs measured in turn, a round each, beside what they are compared with.

So each is measured over the whole run, and not by the mood that the machine is in for a minute. Rungs share a round
where that keeps it small: what both are compared with is read once.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from harness import stats
from harness.comparing import Deck, comparison
from harness.measure import Bench, Limits, SideFailedError, block_pages, hang_limits, interleaved_round
from harness.phases.ladder import Rung
from harness.phases.schedule import Cost, Rounds, plan_rounds, shortest_s
from harness.phases.values import Quantity, RungResult, RungVerdict, verdict
from harness.values import Block, Comparison, Failure, FailureKind, Round, Variant

_FEWEST_ROUNDS = 2
"""An interval needs two."""
_MOST_SIDES = 3
"""Of a round. Neighbours in time are what a pair is compared by: of five sides each waits for four others, its caches
go cold meanwhile, and larger batches were seen to cost a third of the speed where they cost a sixth."""
_DEAR = 3.0
"""Times the start of the baseline, from which a rung is one of those that start slowly: others do not wait for it."""


@dataclass(frozen=True, slots=True)
class Place:
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

    def is_of(self, known: RungResult) -> bool:
        """Whether `known` is about this rung as it is now, with the same claim and beside the same variants."""
        asked = (self.variant, self.rung.quantity, self.rung.claim.range)
        if (known.variant, known.quantity, known.claimed) != asked:
            return False
        pairs = ((known.gain, self.sides[0]), (known.total, self.baseline))
        return all(found is None or found.a == beside for found, beside in pairs)

    def is_settled(self, known: RungResult) -> bool:
        """Whether `known` says all of this rung that measuring it again would."""
        return known.is_done and known.verdict is not RungVerdict.INCONCLUSIVE and self.is_of(known)


@dataclass(slots=True)
class Look:
    """A rung that is being measured: what its pages alone gave, and its own sides of the rounds so far."""

    place: Place
    result: RungResult
    rounds: list[Round] = field(default_factory=list)
    pages: int = 0
    """Of the last round."""
    deck: Deck | None = None
    """What its pages are drawn from, with those that share its rounds and no others."""
    is_over: bool = False
    """Whether nothing more is to be measured of it, as there is no time or a side of it has failed."""


@dataclass(slots=True)
class Pool:
    """Rounds on one bench; `costs` are those that are known."""

    bench: Bench
    costs: dict[Variant, Cost]
    progress: Callable[[int, Sequence[RungResult]], None] = lambda *_: None
    """Told after each round how many there were, and what every rung says so far."""
    _rounds: int = 0

    def measure(self, looks: Sequence[Look], left_s: float, most: int) -> None:
        """Rounds until `left_s` seconds are spent or all looks have `most` of them; their results follow.

        All have equally many as far as the time goes. How many that is depends on time alone, never on what was
        measured, so that Student's interval holds.
        """
        end_s = time.perf_counter() + left_s
        while still := [look for look in looks if not look.is_over and len(look.rounds) < most]:
            parts = sorted(self.parts(still), key=lambda part: min(len(look.rounds) for look in part))
            if not any(self._take_turn(part, still, end_s, most) for part in parts):
                break
            self.progress(self._rounds, [look.result for look in looks])

    def is_unclear(self, look: Look) -> bool:
        """Whether more rounds may give another verdict: the last ones left it open, or did not reach every page."""
        gain = look.result.gain
        is_open = look.result.verdict is RungVerdict.INCONCLUSIVE or bool(look.result.other_verdicts)
        has_pages_left = gain is None or gain.pages < len(self.bench.references)
        return not look.is_over and (is_open or has_pages_left or len(look.rounds) < _FEWEST_ROUNDS)

    def parts(self, looks: Sequence[Look]) -> list[list[Look]]:
        """Those that share rounds: of one engine, with equally long blocks and starts alike, and not too many."""
        groups: dict[tuple[str, int, bool], list[list[Look]]] = {}
        for look in looks:
            place = look.place
            parts = groups.setdefault(
                (place.variant.engine, block_pages(place.sides), self._is_dear(place)), []
            )
            room = (part for part in parts if len(sides_of([*part, look])) <= _MOST_SIDES)
            if part := next(room, None):
                part.append(look)
            else:
                parts.append([look])
        return [part for parts in groups.values() for part in parts]

    def shortest_s(self, looks: Sequence[Look]) -> float:
        """Seconds for a round of each, the shortest that may come next, as far as is known what they cost."""
        return sum(
            shortest_s(self._costs_of(sides), block_pages(sides), max(look.pages for look in part))
            for part in self.parts(looks)
            for sides in [sides_of(part)]
        )

    def _costs_of(self, sides: Sequence[Variant]) -> list[Cost]:
        """What each side takes, the unknown ones as much as usual."""
        known = self.costs.values() or [Cost(0.0, 0.0)]
        usual = Cost(median(cost.start_s for cost in known), median(cost.page_s for cost in known))
        return [self.costs.get(side, usual) for side in sides]

    def _is_dear(self, place: Place) -> bool:
        baseline, *others = self._costs_of((place.baseline, *place.sides))
        return max(cost.start_s for cost in others) > _DEAR * baseline.start_s

    def _take_turn(self, part: Sequence[Look], among: Sequence[Look], end_s: float, most: int) -> bool:
        """One round more, where it fits into the share of the time or is the shortest; whether there was one."""
        sides = sides_of(part)
        block = block_pages(sides)
        left_s, own_s = end_s - time.perf_counter(), self.shortest_s(part)
        share_s = min(left_s, max(own_s, left_s * own_s / self.shortest_s(among)))
        done = Rounds(min(len(look.rounds) for look in part), max(look.pages for look in part))
        plan = plan_rounds(share_s, self._costs_of(sides), block, done, most)
        if not plan.rounds:
            return False
        decks = [look.deck for look in part if look.deck] or [Deck(len(self.bench.pages), self.bench.seed)]
        for look in part:
            look.deck = decks[0]
        self._rounds += 1
        try:
            hand = decks[0].draw(plan.pages)
            last = interleaved_round(self.bench, sides, hand, self._rounds, limits=self._limits(sides))
        except SideFailedError as error:
            for look in part:
                _end(look, sides[error.side], error.failure)
            return True
        self.costs.update(zip(sides, map(cost_of, last.cold_start_s, last.blocks), strict=True))
        for look in part:
            own = [sides.index(side) for side in look.place.sides]
            starts_s = tuple(last.cold_start_s[i] for i in own)
            look.rounds.append(Round(tuple(last.blocks[i] for i in own), starts_s, ()))
            look.pages = plan.pages
            if len(look.rounds) >= _FEWEST_ROUNDS:
                look.result = _judged(look, self.bench)
        return True

    def _limits(self, sides: Sequence[Variant]) -> Limits:
        """By what the starts and pages of these sides took."""
        costs = self._costs_of(sides)
        return hang_limits(max(cost.start_s for cost in costs), max(cost.page_s for cost in costs))


def sides_of(looks: Sequence[Look]) -> tuple[Variant, ...]:
    """Each variant once that any of them is compared with or is."""
    return tuple(dict.fromkeys(side for look in looks for side in look.place.sides))


def cost_of(start_s: float, blocks: Sequence[Block]) -> Cost:
    """What a variant took, by its start and its blocks."""
    return Cost(start_s, sum(block.wall_s for block in blocks) / sum(len(block.pages) for block in blocks))


def failed(result: RungResult, failure: Failure) -> RungResult:
    """What a failure says of the rung: that the device lacks it, or a fault."""
    unsupported = failure.kind is FailureKind.UNSUPPORTED
    return replace(
        result,
        verdict=RungVerdict.NOT_APPLICABLE if unsupported else RungVerdict.FAILED,
        failure=failure,
        reason=f"{failure.kind.value} in {failure.stage}: {sentence(failure)}",
    )


def sentence(failure: Failure) -> str:
    """The message with one full stop."""
    return f"{failure.message.rstrip('.')}."


def _end(look: Look, side: Variant, failure: Failure) -> None:
    """A side of its round has failed: what is compared with it keeps what its rounds said until then."""
    if side == look.place.variant:
        look.is_over, look.result = True, failed(look.result, failure)
    elif side in look.place.sides:
        look.is_over = True
        reason = f"What it is compared with failed: {sentence(failure)}"
        look.result = replace(look.result, reason=reason)


def _judged(look: Look, bench: Bench) -> RungResult:
    place = look.place
    sides, own = place.sides, len(place.sides) - 1
    quantity, claim = place.rung.quantity, place.rung.claim

    def against(side: int) -> Comparison:
        pairs = [_pair(item, side, own, quantity) for item in look.rounds]
        return comparison(bench, sides[side], place.variant, pairs, 1, sequential=False)

    gain = against(0)
    has_total = quantity is not Quantity.FIRST_PAGE
    return replace(
        look.result,
        reason="",
        gain=gain,
        total=against(sides.index(place.baseline)) if has_total else None,
        verdict=verdict(gain.speedup, gain.cer_increase, claim.low),
    )


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
