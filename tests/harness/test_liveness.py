"""What is said of a setting, from readings whose truth is known."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.interface import Line, Setting
from harness.liveness import (
    Effect,
    Life,
    Liveness,
    Noise,
    Reading,
    Step,
    from_trials,
    judge,
    noise,
)
from harness.values import (
    Block,
    CounterSample,
    Failure,
    FailureKind,
    Measurement,
    PageRecord,
    TrialResult,
    Variant,
)

TEXTS = {"p1": "one", "p2": "two"}
CALM = Noise(log_time=math.log(1.03), rss_mib=400.0, rss_spread_mib=2.0, unsteady_pages=frozenset())
STILL = (0.001, -0.002, 0.0, 0.002, -0.001)


def life(*steps: Step) -> Life:
    return Liveness("knob", 1, {}, steps).life


def reading(
    ratio: float = 1.0, rss: float | None = 401.0, texts: dict[str, str] | None = None, jitter: float = 1.0
) -> Reading:
    logs = tuple(math.log(ratio) + jitter * noise for noise in STILL)
    return Reading(texts or TEXTS, logs, rss)


@pytest.mark.parametrize(
    ("found", "effects"),
    [
        (reading(), ()),
        (reading(ratio=1.02), ()),
        (reading(ratio=1.06), (Effect.TIME,)),
        (reading(ratio=0.94), (Effect.TIME,)),
        (reading(ratio=1.06, jitter=30), ()),
        (reading(rss=500.0), (Effect.MEMORY,)),
        (reading(rss=405.0), ()),
        (reading(rss=None), ()),
        (reading(texts={"p1": "one", "p2": "tw0"}), (Effect.TEXT,)),
        (reading(ratio=2, rss=100, texts={"p1": "1", "p2": "2"}), (Effect.TEXT, Effect.TIME, Effect.MEMORY)),
    ],
)
def test_a_change_counts_where_it_exceeds_what_copies_of_the_base_differ_by(
    found: Reading, effects: tuple[Effect, ...]
) -> None:
    step = judge(2, found, TEXTS, CALM)
    assert step.effects == effects
    assert life(step) is (Life.ALIVE if effects else Life.UNCLEAR if step.blind else Life.DEAD)


def test_a_knob_is_not_called_dead_where_a_change_of_a_tenth_could_have_hidden() -> None:
    assert life(judge(2, reading(), TEXTS, CALM)) is Life.DEAD
    assert life(judge(2, reading(jitter=80), TEXTS, CALM)) is Life.UNCLEAR


def test_text_that_the_base_does_not_repeat_is_no_evidence_and_other_text_is() -> None:
    other = {"p1": "one", "p2": "tow"}
    known = noise([reading(), reading(texts=other)], TEXTS)
    assert known.unsteady_pages == {"p2"}
    assert judge(2, reading(texts=other), TEXTS, known).effects == ()
    assert judge(2, reading(texts={"p1": "0ne", "p2": "two"}), TEXTS, known).effects == (Effect.TEXT,)


def test_memory_is_judged_by_the_spread_of_the_copies() -> None:
    known = noise([reading(rss=400), reading(rss=440)], TEXTS)
    assert (known.rss_mib, known.rss_spread_mib) == (420, 40)
    assert judge(2, reading(rss=480), TEXTS, known).effects == ()
    assert judge(2, reading(rss=520), TEXTS, known).effects == (Effect.MEMORY,)


@settings(deadline=None)  # the first call loads scipy
@given(st.integers(0, 10_000))
def test_a_setting_that_does_nothing_is_seldom_said_to_change_the_time(seed: int) -> None:
    # By the band of the copies and the interval of the reading together: fewer than one in twenty, over seeds.
    draw = random.Random(seed)
    called = 0
    for _ in range(40):
        copies = [Reading(TEXTS, tuple(draw.gauss(0, 0.05) for _ in range(5)), None) for _ in range(2)]
        found = Reading(TEXTS, tuple(draw.gauss(0, 0.05) for _ in range(5)), None)
        called += Effect.TIME in judge(2, found, TEXTS, noise(copies, TEXTS)).effects
    assert called <= 5


def test_failures_are_told_only_where_no_value_could_be_read() -> None:
    failed, dead = Step(3, failure="crash: no"), judge(2, reading(), TEXTS, CALM)
    assert life(failed) is Life.FAILED
    assert life(failed, dead) is Life.DEAD
    assert life() is Life.UNTESTED
    assert life(Step(3)) is Life.UNCLEAR  # the same text, nothing else compared


def trial(
    number: int, seconds: float, text: str = "text", rss: float = 300.0, **settings: Setting
) -> TrialResult:
    pages = tuple(PageRecord(f"p{i}", (Line(text),), seconds, {}) for i in range(4))
    samples = (CounterSample(0.0, {"rss_mib": rss}),)
    outcome = Measurement(1.0, (Block(pages, 4 * seconds),), samples)
    return TrialResult(number, Variant("e", "cpu", settings), "search", 0.0, 1.0, outcome)


def test_a_searchs_own_trials_tell_of_knobs_in_which_alone_two_differ() -> None:
    crash = TrialResult(
        9,
        Variant("e", "cpu", {"a": 1, "b": 1, "c": 1, "d": 2, "e": 1}),
        "search",
        0.0,
        1.0,
        Failure(FailureKind.CRASH, "open", "no"),
    )
    found = {
        life.knob: life
        for life in from_trials(
            [
                trial(0, 1.0, a=1, b=1, c=1, d=1, e=1),
                trial(1, 0.5, a=2, b=1, c=1, d=1, e=1),
                trial(2, 1.02, text="other", a=1, b=2, c=1, d=1, e=1),
                trial(3, 1.05, a=1, b=1, c=2, d=1, e=1),
                trial(4, 0.5, a=2, b=2, c=2, d=1, e=2),
                crash,
            ]
        )
    }
    assert found["a"].effects == (Effect.TIME,)
    assert found["b"].effects == (Effect.TEXT,)
    assert found["c"].life is Life.UNCLEAR, "minutes apart, a sixth of the time may be nothing"
    assert found["d"].life is Life.FAILED
    assert found["e"].life is Life.UNTESTED


def test_a_knob_that_brings_others_with_it_still_differs_alone() -> None:
    found = from_trials([trial(0, 1.0, runtime="a", x=1), trial(1, 0.4, runtime="b", y=2)])
    assert {life.knob: life.life for life in found} == {
        "runtime": Life.ALIVE,
        "x": Life.UNTESTED,
        "y": Life.UNTESTED,
    }
