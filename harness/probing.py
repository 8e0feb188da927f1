"""Trying every knob of an engine beside its base, for `harness.liveness` to judge.

The base stays open while one alternative after the other comes beside it in a fresh process; both read the same
blocks of pages. Copies of the base itself go first and show the noise. Where the budget is too short for all that,
one page with little text is read first: whatever changes its text is alive. Time and memory are compared for as many
of the others as the budget allows.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType

from engines.interface import Choice, Knob, Setting
from harness.beside import Beside, Clock, OutOfTimeError
from harness.liveness import Effect, Life, Liveness, Noise, Step, changed_pages, judge, noise
from harness.measure import QUEUE_PAGES, Bench, block_pages
from harness.session import TrialFailedError
from harness.space import Space
from harness.values import Failure, Variant

BLOCKS = 5
"""Blocks of pages that an alternative reads beside its base."""
_LEAST_TEXT = 100
"""Characters below which a page is too empty to show what a setting does."""
_ENDED = "the budget ended before it was judged"


@dataclass(frozen=True, slots=True)
class Group:
    """Knobs that are tried beside one base, and the variants to try by knob and value."""

    base: Variant
    condition: Mapping[str, Setting]
    """What the base was given for the knobs to act."""
    knobs: tuple[Knob, ...]
    variants: Mapping[str, Mapping[Setting, Variant]]

    def block_pages(self, values: int) -> int:
        """Pages a block needs where so many values a knob are tried."""
        tried = [variant for found in self.variants.values() for variant in list(found.values())[:values]]
        return max(block_pages([self.base, *tried]), QUEUE_PAGES if any(map(queues, self.knobs)) else 1)

    def untested(self, knob: Knob, why: str) -> Liveness:
        """The knob was not tried."""
        return Liveness(knob.name, self.base.settings[knob.name], self.condition, (), why)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the knobs of a group are tried."""

    blocks: tuple[tuple[int, ...], ...]
    try_s: float
    """What one alternative is expected to take, its start included."""
    copies: int
    values: int
    """Alternatives a knob."""
    glance_s: float | None = None
    """What reading one page takes, start included, where that comes first; None where there is time for all."""


def probe(
    bench: Bench,
    space: Space,
    base: Variant,
    *,
    budget_s: float,
    idle: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[Liveness], None] = lambda _: None,
) -> tuple[Liveness, ...]:
    """Every knob of `space`, one value away from `base`, as far as `budget_s` seconds allow.

    Knobs of `idle` are not tried, for the reason that stands there: they cannot act on these pages. Knobs that act
    only where another is set are tried with that set in the base as well. A knob's second value is tried only where
    the first showed nothing. `progress` hears of a knob again where more was found out. Raises TrialFailedError where
    `base` itself cannot be measured.
    """
    clock = Clock(budget_s)
    found: dict[str, Liveness] = {}
    groups = _groups(space, [knob for knob in space.knobs if knob.name not in idle], base)
    for number, group in enumerate(groups):
        share = len(group.knobs) / sum(len(later.knobs) for later in groups[number:])
        failure = ""
        try:
            for life in _lives(bench, group, bench.folder / f"group-{number:02d}", clock, share):
                found[life.knob] = life
                progress(life)
        except OutOfTimeError:
            pass  # what it did not reach is said below
        except TrialFailedError as failed:
            if group.base == base:
                raise
            failure = f"{failed.failure.kind}: {failed}"
        for knob in group.knobs:
            if knob.name not in found:
                life = group.untested(knob, _ENDED)
                if failure:
                    step = Step(life.base_value, failure=failure)
                    life = replace(life, steps=(step,), untested="")
                found[knob.name] = life
                progress(life)
    for knob in space.knobs:
        why = idle.get(knob.name, "its condition cannot be met here")
        found.setdefault(knob.name, Liveness(knob.name, knob.default, {}, (), why))
    return tuple(found[knob.name] for knob in space.knobs)


def _groups(space: Space, knobs: Sequence[Knob], base: Variant) -> list[Group]:
    """Knobs by the base that they need: first what is cheap to try, last the pipeline, which needs long blocks."""
    members: dict[tuple[bool, Variant], list[Knob]] = {}
    for knob in knobs:
        variant = with_condition(space, base, knob)
        if variant is not None:
            members.setdefault((queues(knob), variant), []).append(knob)
    ordered = sorted(members.items(), key=lambda item: (item[0][0], item[0][1] != base))
    return [
        Group(
            variant,
            _condition(base, variant),
            tuple(found),
            {knob.name: _variants(space, variant, knob) for knob in found},
        )
        for (_, variant), found in ordered
    ]


def _lives(bench: Bench, group: Group, folder: Path, clock: Clock, share: float) -> Iterator[Liveness]:
    """The knobs of a group, in that share of the time that is left; one that is told twice is known better then."""
    if not clock.left():
        raise OutOfTimeError
    with Beside(bench, group.base, folder, clock) as beside:
        reserve_s = (1 - share) * clock.left()
        scheme = _scheme(bench, group, beside, share * clock.left())
        told: dict[str, Liveness] = {}
        if scheme.glance_s is not None:
            for life in _glances(beside, group, scheme.blocks[0][:1], scheme.glance_s, clock):
                told[life.knob] = life
                yield life
        known: Noise | None = None
        for knob in group.knobs:
            before = told.get(knob.name)
            if before and before.life is not Life.UNCLEAR:
                continue
            tries = 1 if known else scheme.copies + 1
            left_s = max(0.0, clock.left() - (0 if scheme.glance_s is None else reserve_s))
            if not group.variants[knob.name]:
                yield group.untested(knob, "it has one value only")
            elif left_s >= tries * scheme.try_s:
                known = known or noise(
                    [beside.copy(scheme.blocks) for _ in range(scheme.copies)], beside.texts
                )
                yield _life(beside, group, knob, scheme, known, clock)
            elif not before:
                yield group.untested(knob, _too_long(tries * scheme.try_s, left_s))


def _glances(
    beside: Beside, group: Group, pages: Sequence[int], glance_s: float, clock: Clock
) -> Iterator[Liveness]:
    """The knobs that may change the text, told by the text of `pages` alone."""
    unsteady: set[str] | None = None
    for knob in group.knobs:
        if not knob.changes_text or not group.variants[knob.name]:
            continue
        needed_s = glance_s if unsteady is not None else 2 * glance_s
        if (left_s := clock.left()) < needed_s:
            yield group.untested(knob, _too_long(needed_s, left_s))
            continue
        if unsteady is None:
            copy = beside.glance(group.base, pages)
            if isinstance(copy, Failure):
                raise TrialFailedError(copy)
            unsteady = changed_pages(beside.texts, copy.texts)
        value, variant = next(iter(group.variants[knob.name].items()))
        outcome = beside.glance(variant, pages)
        if isinstance(outcome, Failure):
            step = Step(value, failure=f"{outcome.kind}: {outcome.message}")
        else:
            changed = len(changed_pages(beside.texts, outcome.texts) - unsteady)
            step = Step(value, (Effect.TEXT,) if changed else (), pages_changed=changed)
        yield Liveness(knob.name, group.base.settings[knob.name], group.condition, (step,))


def _too_long(needed_s: float, left_s: float) -> str:
    return f"it takes about {needed_s:.0f} s and {left_s:.0f} s were left for it"


def _life(beside: Beside, group: Group, knob: Knob, scheme: Scheme, known: Noise, clock: Clock) -> Liveness:
    done: list[Step] = []
    for value, variant in islice(group.variants[knob.name].items(), scheme.values):
        if done and clock.left() < scheme.try_s:
            break
        outcome = beside.read(variant, scheme.blocks)
        if isinstance(outcome, Failure):
            done.append(Step(value, failure=f"{outcome.kind}: {outcome.message}"))
        else:
            done.append(judge(value, outcome, beside.texts, known))
        if done[-1].effects:
            break
    return Liveness(knob.name, group.base.settings[knob.name], group.condition, tuple(done))


def _scheme(bench: Bench, group: Group, beside: Beside, share_s: float) -> Scheme:
    """All that there is to know where `share_s` seconds allow it, else what can be known soonest first."""
    count = len(bench.pages)
    fair = random.Random(f"{bench.seed}/probe").sample(range(count), count)
    size = group.block_pages(2)
    blocks = _dealt(fair, size)
    thorough = Scheme(blocks, _try_s(beside, size, beside.time_base(blocks[0][:1])), copies=2, values=2)
    tries = thorough.copies + sum(map(len, group.variants.values()))
    if tries * thorough.try_s <= share_s:
        return thorough
    size = group.block_pages(1)
    blocks = _dealt(_shortest(bench), size)
    page_s = beside.time_base(blocks[0][:1])
    return Scheme(blocks, _try_s(beside, size, page_s), copies=1, values=1, glance_s=beside.start_s + page_s)


def _try_s(beside: Beside, pages: int, page_s: float) -> float:
    return beside.start_s + 2 * BLOCKS * pages * page_s


def _shortest(bench: Bench) -> list[int]:
    """Pages by the length of their ground truth, those with next to none last."""
    lengths = [len(reference.text) for reference in bench.references]
    return sorted(range(len(lengths)), key=lambda page: (lengths[page] < _LEAST_TEXT, lengths[page]))


def _dealt(pages: Sequence[int], size: int) -> tuple[tuple[int, ...], ...]:
    endless = cycle(pages[: BLOCKS * size])
    return tuple(tuple(islice(endless, size)) for _ in range(BLOCKS))


def _variants(space: Space, base: Variant, knob: Knob) -> dict[Setting, Variant]:
    values = alternatives(knob, base.settings[knob.name])
    return {value: space.suggested({**base.settings, knob.name: value}) for value in values}


def alternatives(knob: Knob, base: Setting) -> tuple[Setting, ...]:
    """At most two other values that would show an effect if there is one.

    Two other names, or both ends of a grid; of the page pipeline the nearest values, for far ones need many pages.
    """
    values: Sequence[Setting] = knob.domain.values
    others = [value for value in values if value != base or type(value) is not type(base)]
    if isinstance(knob.domain, Choice) or len(others) <= 2:
        return tuple(others[:2])
    if queues(knob):
        return tuple(sorted(others, key=lambda value: abs(float(value) - float(base)))[:2])
    return (others[-1], others[0])


def queues(knob: Knob) -> bool:
    """Whether the knob is about several pages at a time, so that one page alone would not show what it does."""
    return knob.stage == "pipeline"


def with_condition(space: Space, base: Variant, knob: Knob) -> Variant | None:
    """The base, with what `knob` needs switched on; None where that cannot be had."""
    settings = {**base.settings, **_needed(space, base.settings, knob, depth=len(space.knobs))}
    variant = space.suggested(settings)
    return variant if knob.name in variant.settings else None


def _needed(space: Space, settings: Mapping[str, Setting], knob: Knob, depth: int) -> dict[str, Setting]:
    needed: dict[str, Setting] = {}
    for name, values in knob.when.items():
        if name in settings and settings[name] in values:
            continue
        other = space.by_name.get(name)
        if other is None or depth == 0:
            return {}
        needed |= _needed(space, settings, other, depth - 1)
        needed[name] = next((value for value in other.domain.values if value in values), values[0])
    return needed


def _condition(base: Variant, variant: Variant) -> dict[str, Setting]:
    """The settings that were switched on for a knob, without those that only came along."""
    return {
        name: value
        for name, value in variant.settings.items()
        if name in base.settings and repr(base.settings[name]) != repr(value)
    }
