"""Does a setting do anything at all here? Judged from two readings that differ in that setting alone. Pure.

A knob is alive where it changed the text (exactly), the time (beyond what two copies of the same variant differ
by) or the memory. It is dead only where the measurement could have shown a change and did not.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from engines.interface import Setting
from harness import stats
from harness.values import CounterSample, Failure, Interval, Measurement, TrialResult, Variant

_LEAST_TIME = math.log(1.02)
_LEAST_MEMORY = 0.03
"""Smaller shares do not matter, however quiet the machine."""
_VISIBLE = math.log(1.10)
"""A knob is called dead only where a change of 10 % of the time would have been seen."""
_BETWEEN_TRIALS = math.log(1.16)
"""Trials minutes apart differ by so much in time for nothing; see `harness.measure`."""


_MEMORY_BETWEEN_TRIALS = 0.12
"""Likewise for the peak memory, which is sampled once in each."""
_MOST_PAIRS = 20


class Effect(StrEnum):
    """What a setting can change."""

    TEXT = "text"
    TIME = "time"
    MEMORY = "memory"


class Life(StrEnum):
    """What is known of a setting on this machine."""

    ALIVE = "alive"
    DEAD = "dead"
    UNCLEAR = "not told apart"
    FAILED = "failed"
    UNTESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one variant did beside another."""

    texts: Mapping[str, str]
    """By page id."""
    log_ratios: tuple[float, ...]
    """One a block of pages: log(t_base / t_variant); above 0, the variant is faster. Empty: not compared."""
    rss_peak_mib: float | None


@dataclass(frozen=True, slots=True)
class Noise:
    """By how much copies of the same variant differ, so that more than that is the setting's doing."""

    log_time: float
    rss_mib: float | None
    """Mean peak of the copies, None where memory could not be read."""
    rss_spread_mib: float
    unsteady_pages: frozenset[str]
    """Pages that the copies did not read alike."""


@dataclass(frozen=True, slots=True)
class Step:
    """One knob set to another value, all else equal."""

    value: Setting
    effects: tuple[Effect, ...] = ()
    speedup: Interval | None = None
    memory_mib: float | None = None
    """Peak of this value minus that of the base."""
    pages_changed: int = 0
    failure: str | None = None

    @property
    def blind(self) -> bool:
        """Whether a change that matters could have hidden in the noise."""
        if self.effects or self.failure:
            return False
        if self.speedup is None:
            return True
        widest = max(abs(_log(self.speedup.low)), abs(_log(self.speedup.high)))
        return widest > _VISIBLE


@dataclass(frozen=True, slots=True)
class Liveness:
    """All that was seen of one knob."""

    knob: str
    base_value: Setting
    condition: Mapping[str, Setting]
    """Settings that had to be switched on, in the base as well, for the knob to act."""
    steps: tuple[Step, ...] = ()
    untested: str = ""
    """Why it was not tested, where it was not."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What any of the values changed."""
        return tuple(effect for effect in Effect if any(effect in step.effects for step in self.steps))

    @property
    def life(self) -> Life:
        """The verdict."""
        if self.effects:
            return Life.ALIVE
        read = [step for step in self.steps if not step.failure]
        if not read:
            return Life.FAILED if self.steps else Life.UNTESTED
        return Life.UNCLEAR if any(step.blind for step in read) else Life.DEAD


def noise(copies: Sequence[Reading], base_texts: Mapping[str, str]) -> Noise:
    """The noise of time, memory and text from `copies` of the base that ran beside it, at least one.

    The time band is the outer bound of the 95 % interval of the copies' mean ratio, which would be 1 without noise.
    """
    ratios = [ratio for copy in copies for ratio in copy.log_ratios]
    interval = stats.mean_interval(ratios)
    peaks = [copy.rss_peak_mib for copy in copies if copy.rss_peak_mib is not None]
    unsteady = {page for copy in copies for page in changed_pages(base_texts, copy.texts)}
    return Noise(
        log_time=max(abs(interval.low), abs(interval.high), _LEAST_TIME),
        rss_mib=sum(peaks) / len(peaks) if peaks else None,
        rss_spread_mib=max(peaks) - min(peaks) if peaks else 0.0,
        unsteady_pages=frozenset(unsteady),
    )


def judge(value: Setting, reading: Reading, base_texts: Mapping[str, str], known: Noise) -> Step:
    """What the reading with the knob at `value` shows, given the noise of the base."""
    changed = changed_pages(base_texts, reading.texts) - known.unsteady_pages
    if not reading.log_ratios:
        return Step(value, (Effect.TEXT,) if changed else (), pages_changed=len(changed))
    log = stats.mean_interval(reading.log_ratios)
    grown = None
    if reading.rss_peak_mib is not None and known.rss_mib is not None:
        grown = reading.rss_peak_mib - known.rss_mib
    effects = []
    if changed:
        effects.append(Effect.TEXT)
    if log.low > known.log_time or log.high < -known.log_time:
        effects.append(Effect.TIME)
    if grown is not None and abs(grown) > max(
        _LEAST_MEMORY * (known.rss_mib or 0.0), 2 * known.rss_spread_mib
    ):
        effects.append(Effect.MEMORY)
    speedup = Interval(math.exp(log.value), math.exp(log.low), _exp(log.high))
    return Step(value, tuple(effects), speedup, grown, len(changed))


def changed_pages(a: Mapping[str, str], b: Mapping[str, str]) -> set[str]:
    """Pages that both sides read, with different text."""
    return {page for page, text in a.items() if page in b and b[page] != text}


def rss_peak_mib(samples: Iterable[CounterSample]) -> float | None:
    """The highest resident memory of a trial's processes, None where it was not sampled."""
    return max((s.values["rss_mib"] for s in samples if "rss_mib" in s.values), default=None)


def from_trials(trials: Sequence[TrialResult]) -> tuple[Liveness, ...]:
    """What a search's own trials say of each setting that appears in them, by name.

    Pairs of trials that differ in one setting, and in those that act only with it, are compared on the pages that
    both read, at most `_MOST_PAIRS` a setting. They ran minutes apart, so only a difference of time beyond 16 %
    counts. A setting without such a pair is untested.
    """
    searched = [trial for trial in trials if trial.phase != "confirm"]
    steps: dict[str, list[Step]] = {}
    for knob, a, b in _pairs([trial.variant for trial in searched]):
        found = steps.setdefault(knob, [])
        if len(found) < _MOST_PAIRS:
            found += _between(searched[a].outcome, searched[b].outcome, searched[b].variant.settings[knob])
    values: dict[str, Setting] = {}
    for trial in searched:
        values = {**trial.variant.settings, **values}
    untested = "no two trials differ in it alone"
    return tuple(
        Liveness(name, values[name], {}, tuple(steps.get(name, ())), "" if steps.get(name) else untested)
        for name in sorted(values)
    )


def _pairs(variants: Sequence[Variant]) -> Iterator[tuple[str, int, int]]:
    """Pairs of variants, by index, and the one setting among those of both in which they differ."""
    names = sorted({name for variant in variants for name in variant.settings})
    codes: dict[tuple[str, str], int] = {}
    table = np.zeros((len(variants), len(names)), np.int32)  # 0 where a setting is left out
    for row, variant in enumerate(variants):
        for column, name in enumerate(names):
            if name in variant.settings:
                value = (name, repr(variant.settings[name]))
                table[row, column] = codes.setdefault(value, len(codes) + 1)
    for a, one in enumerate(table):
        rest = table[a + 1 :]
        differs = (rest != one) & (rest != 0) & (one != 0)
        for offset in np.flatnonzero(differs.sum(axis=1) == 1):
            yield names[int(differs[offset].argmax())], a, a + 1 + int(offset)


def _between(first: Measurement | Failure, second: Measurement | Failure, value: Setting) -> list[Step]:
    """What the second trial, with the setting at `value`, shows beside the first; empty where they do not compare."""
    if isinstance(first, Failure):
        return []
    if isinstance(second, Failure):
        return [Step(value, failure=second.kind.value)]
    a, b = ({page.page_id: page for page in reversed(measurement.pages)} for measurement in (first, second))
    both = a.keys() & b.keys()
    if not both or not all(side[page].seconds > 0 for side in (a, b) for page in both):
        return []
    log = math.log(sum(a[page].seconds for page in both) / sum(b[page].seconds for page in both))
    changed = sum(a[page].text != b[page].text for page in both)
    peaks = (rss_peak_mib(first.samples), rss_peak_mib(second.samples))
    grown = None if peaks[0] is None or peaks[1] is None else peaks[1] - peaks[0]
    effects = [Effect.TEXT] if changed else []
    if abs(log) > _BETWEEN_TRIALS:
        effects.append(Effect.TIME)
    if grown is not None and peaks[0] and abs(grown) > _MEMORY_BETWEEN_TRIALS * peaks[0] and len(a) == len(b):
        effects.append(Effect.MEMORY)
    speedup = Interval(math.exp(log), math.exp(log - _BETWEEN_TRIALS), math.exp(log + _BETWEEN_TRIALS))
    return [Step(value, tuple(effects), speedup, grown, changed)]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
