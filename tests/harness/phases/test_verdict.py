import math

import pytest

from harness.phases.values import RungVerdict, verdict
from harness.values import Interval

NO_HARM = Interval(0.0, -0.001, 0.001)


@pytest.mark.parametrize(
    ("low", "high", "claimed", "expected"),
    [
        (1.1, 1.3, 1.2, "holds"),
        (1.3, 1.5, 1.2, "holds"),
        (1.02, 1.06, None, "holds"),
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
