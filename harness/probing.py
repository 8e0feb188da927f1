"""Trying every knob of an engine beside its base, for `harness.liveness` to judge.

The base stays open while one alternative after the other comes beside it in a fresh process; both read the same
blocks of pages, a coin decides who goes first. Copies of the base itself go first and show the noise.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import TypeVar

from engines.interface import Choice, Knob, Setting
from harness.liveness import (
    Liveness,
    Noise,
    Reading,
    Step,
    judge,
    noise,
    rss_peak_mib,
)
from harness.measure import OPEN_S, SLOWEST_PAGE_S, Bench, block_pages
from harness.session import Session, TrialFailedError
from harness.space import Space
from harness.values import Block, Failure, Variant

_T = TypeVar("_T")

BLOCKS = 5
"""Blocks of pages that an alternative reads beside its base."""
_COPIES = 2
_QUEUE_PAGES = 4
"""Pages a block needs at least before settings of the page pipeline can act: one page has nothing to wait for."""
_OUT_OF_BUDGET = "budget"


def probe(
    bench: Bench,
    space: Space,
    base: Variant,
    *,
    budget_s: float,
    idle: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[Liveness], None] = lambda _: None,
) -> tuple[Liveness, ...]:
    """Every knob of `space`, one value away from `base`, until `budget_s` seconds are spent.

    Knobs of `idle` are not tried, for the reason that stands there: they cannot act on these pages.

    Knobs that act only where another is set are tried with that set in the base as well. A knob's second value is
    tried only where the first showed nothing. Raises TrialFailedError where `base` itself cannot be measured.
    """
    clock = _Clock(budget_s)
    found: list[Liveness] = []
    tried = [knob for knob in space.knobs if knob.name not in idle]
    for number, (variant, knobs) in enumerate(_groups(space, tried, base)):
        condition = _condition(base, variant)
        folder = bench.folder / f"group-{number:02d}"
        try:
            for life in _group(bench, space, variant, knobs, condition, folder, clock):
                found.append(life)
                progress(life)
        except TrialFailedError as failed:
            if variant == base:
                raise
            done = {life.knob for life in found}
            for knob in knobs:
                if knob.name not in done:
                    step = Step(variant.settings[knob.name], failure=f"{failed.failure.kind}: {failed}")
                    found.append(Liveness(knob.name, variant.settings[knob.name], condition, (step,)))
                    progress(found[-1])
    reached = {life.knob for life in found}
    for knob in space.knobs:
        if knob.name not in reached:
            why = idle.get(knob.name, "its condition cannot be met here")
            found.append(Liveness(knob.name, knob.default, {}, (), why))
    order = {knob.name: place for place, knob in enumerate(space.knobs)}
    return tuple(sorted(found, key=lambda life: order[life.knob]))


def _groups(space: Space, knobs: Sequence[Knob], base: Variant) -> list[tuple[Variant, list[Knob]]]:
    """Knobs by the base that they need, those of `base` itself first. Knobs of the pipeline need longer blocks."""
    groups: dict[tuple[Variant, bool], list[Knob]] = {}
    for knob in knobs:
        variant = with_condition(space, base, knob)
        if variant is not None:
            groups.setdefault((variant, queues(knob)), []).append(knob)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != base, item[0][1]))
    return [(variant, knobs) for (variant, _), knobs in ordered]


def _group(
    bench: Bench,
    space: Space,
    base: Variant,
    knobs: Sequence[Knob],
    condition: Mapping[str, Setting],
    folder: Path,
    clock: "_Clock",
) -> Iterator[Liveness]:
    if not clock.allows(_COPIES + 1):
        for knob in knobs:
            yield Liveness(knob.name, base.settings[knob.name], condition, (), _OUT_OF_BUDGET)
        return
    variants = {knob.name: _variants(space, base, knob) for knob in knobs}
    size = max(
        block_pages([base, *(variant for tried in variants.values() for variant in tried.values())]),
        _QUEUE_PAGES if any(map(queues, knobs)) else 1,
    )
    with _Beside(bench, base, size, folder) as beside:
        copies = [clock.time(beside.copy) for _ in range(_COPIES)]
        known = noise(copies, beside.texts)
        for knob in knobs:
            yield _knob(beside, knob, variants[knob.name], known, condition, clock)


def _knob(
    beside: "_Beside",
    knob: Knob,
    variants: Mapping[Setting, Variant],
    known: Noise,
    condition: Mapping[str, Setting],
    clock: "_Clock",
) -> Liveness:
    done: list[Step] = []
    why = "" if variants else "it has one value only"
    for value, variant in variants.items():
        if not clock.allows():
            why = "" if done else _OUT_OF_BUDGET
            break
        outcome = clock.time(partial(beside.read, variant))
        if isinstance(outcome, Failure):
            done.append(Step(value, failure=f"{outcome.kind}: {outcome.message}"))
        else:
            done.append(judge(value, outcome, beside.texts, known))
        if done[-1].effects:
            break
    return Liveness(knob.name, beside.base.settings[knob.name], condition, tuple(done), why)


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


class _Beside:
    """The base, open, and the pages that it and each alternative read. Use as a context manager."""

    def __init__(self, bench: Bench, base: Variant, size: int, folder: Path) -> None:
        self.base = base
        self.texts: dict[str, str] = {}
        """What the base read, by page id."""
        self._bench, self._folder = bench, folder
        self._draw = random.Random(f"{bench.seed}/probe")
        order = self._draw.sample(range(len(bench.pages)), min(len(bench.pages), BLOCKS * size))
        pages = cycle(order)
        self._blocks = [list(islice(pages, size)) for _ in range(BLOCKS)]
        self._opened = 0
        self._session = Session(base, bench.pages, folder / "base", bench.machine, sample_counters=False)

    def __enter__(self) -> "_Beside":
        try:
            self._session.start(self._blocks[0][:1], OPEN_S)
        except BaseException:
            self._session.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def copy(self) -> Reading:
        """The base beside itself. Raises TrialFailedError."""
        outcome = self.read(self.base)
        if isinstance(outcome, Failure):
            raise TrialFailedError(outcome)
        return outcome

    def read(self, variant: Variant) -> Reading | Failure:
        """All blocks with `variant` in a fresh process beside the base. Raises TrialFailedError where that fails."""
        self._opened += 1
        folder = self._folder / f"{self._opened:02d}-{variant.id}"
        ours: list[Block] = []
        ratios = []
        with Session(variant, self._bench.pages, folder, self._bench.machine) as session:
            try:
                session.start(self._blocks[0][:1], OPEN_S)
            except TrialFailedError as failed:
                return failed.failure
            for block in self._blocks:
                deadline_s = SLOWEST_PAGE_S * len(block)
                base_first = self._draw.random() < 0.5
                base = self._session.read(block, deadline_s) if base_first else None
                try:
                    ours.append(session.read(block, deadline_s))
                except TrialFailedError as failed:
                    return failed.failure
                base = base or self._session.read(block, deadline_s)
                self._remember(base)
                ratios.append(math.log(base.wall_s / ours[-1].wall_s))
        texts = {page.page_id: page.text for block in ours for page in block.pages}
        return Reading(texts, tuple(ratios), rss_peak_mib(session.measurement().samples))

    def _remember(self, block: Block) -> None:
        for page in block.pages:
            self.texts.setdefault(page.page_id, page.text)


class _Clock:
    """The budget, in seconds, and what a step of the work costs of it."""

    def __init__(self, budget_s: float) -> None:
        self._ends = time.perf_counter() + budget_s
        self._costs: list[float] = []

    def allows(self, steps: int = 1) -> bool:
        """Whether so many steps more would end within the budget if each took as long as most so far."""
        expected_s = median(self._costs) if self._costs else 0.0
        return time.perf_counter() + steps * expected_s <= self._ends

    def time(self, step: Callable[[], _T]) -> _T:
        """Run a step of the work, and remember what it cost."""
        began = time.perf_counter()
        try:
            return step()
        finally:
            self._costs.append(time.perf_counter() - began)
