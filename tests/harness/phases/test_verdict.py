import math
from dataclasses import replace

import pytest

from harness.phases.values import RungResult, RungVerdict, verdict
from harness.values import Comparison, Interval, Variant, Verdict

A, B = (Variant("scripted", "cpu", {"page_ms": ms}) for ms in (80, 40))
NO_HARM = Interval(0.0, -0.001, 0.001)


@pytest.mark.parametrize(
    ("low", "high", "claimed", "expected"),
    [
        (1.1, 1.3, 1.2, "holds"),
        (1.3, 1.5, 1.2, "holds"),
        (1.02, 1.10, None, "holds"),
        (1.02, 1.06, None, "none"),
        (0.9, 1.0, None, "inconclusive"),
        (0.87, 0.99, None, "worse"),
        (1.05, 1.15, 1.2, "smaller"),
        (0.98, 1.02, 1.2, "none"),
        (0.98, 1.02, None, "none"),
        (0.92, 1.09, 1.2, "none"),
        (0.92, 1.15, 1.2, "inconclusive"),
        (0.87, 1.04, 1.2, "inconclusive"),
        (0.92, 1.09, None, "none"),
        (0.92, 1.11, None, "inconclusive"),
        (1.001, 1.02, None, "none"),
        (0.98, 0.999, None, "none"),
        (0.7, 0.9, 1.2, "worse"),
        (0.0, math.inf, 1.2, "inconclusive"),
    ],
)
def test_the_intervals_decide(low: float, high: float, claimed: float | None, expected: str) -> None:
    assert (
        verdict(
            Interval(math.sqrt(low * high) if math.isfinite(high) else 1.0, low, high), NO_HARM, claimed
        ).value
        == expected
    )


def test_harm_outweighs_speed_and_must_be_sure() -> None:
    fast = Interval(3.0, 2.5, 3.5)
    assert verdict(fast, Interval(0.01, 0.003, 0.02), 2.0) is RungVerdict.HARMFUL
    assert verdict(fast, Interval(0.01, 0.001, 0.02), 2.0) is RungVerdict.HOLDS


def test_without_ground_truth_only_speed_counts() -> None:
    unknown = Interval(math.nan, math.nan, math.nan)
    assert verdict(Interval(3.0, 2.5, 3.5), unknown, 2.0) is RungVerdict.HOLDS


@pytest.mark.parametrize(
    ("low", "high", "claimed", "text"),
    [
        (1.06, 1.3, None, "holds"),
        (1.06, 1.3, 1.2, "holds or smaller"),
        (1.06, 1.3, 1.01, "holds"),
        (1.06, 1.15, 1.2, "smaller"),
        (1.02, 1.3, None, "holds or none"),
        (1.02, 1.3, 1.2, "holds or none or smaller"),
        (0.96, 1.04, 1.2, "none"),
        (0.94, 1.04, None, "none or worse"),
        (0.92, 0.98, None, "worse or none"),
        (0.7, 0.9, None, "worse"),
        (0.9, 1.01, None, "inconclusive: worse or none"),
        (0.98, 1.15, 1.2, "inconclusive: none or smaller"),
        (0.8, 1.3, None, "inconclusive"),
        (0.8, 1.3, 1.2, "inconclusive"),
        (0.8, 1.15, 1.2, "inconclusive: worse or none or smaller"),
    ],
)
def test_a_verdict_names_those_beyond_the_edges_that_its_interval_holds(
    low: float, high: float, claimed: float | None, text: str
) -> None:
    speedup = Interval(math.sqrt(low * high), low, high)
    gain = Comparison(A, B, (), speedup, Verdict.INCONCLUSIVE, NO_HARM, NO_HARM, NO_HARM, pages=8)
    of = verdict(speedup, NO_HARM, claimed)
    result = RungResult("x", "x", "", of, claimed=(claimed, 2.0) if claimed else None, gain=gain)
    assert result.verdict_text == text
    assert not replace(result, verdict=RungVerdict.HARMFUL).other_verdicts
