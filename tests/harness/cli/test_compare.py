"""What `tune compare` says to people."""

import pytest

from harness.cli.compare import say
from harness.values import Comparison, Interval, Variant, Verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict", "asks_for_more", "says_why"),
    [
        (1.01, 1.12, Verdict.FASTER, False, False),
        (0.98, 1.02, Verdict.SAME, False, False),
        (0.97, 1.12, Verdict.INCONCLUSIVE, True, False),
        (1.01, 1.12, Verdict.INCONCLUSIVE, True, True),
    ],
)
def test_an_open_verdict_asks_for_more_and_says_why_the_interval_is_not_enough(
    low: float,
    high: float,
    verdict: Verdict,
    asks_for_more: bool,
    says_why: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = (Variant("scripted", "cpu", {"page_ms": page_ms}) for page_ms in (40, 36))
    none = Interval(0.0, 0.0, 0.0)
    result = Comparison(
        a, b, (), Interval((low * high) ** 0.5, low, high), verdict, none, none, none, pages=8
    )
    say(result, "slow.yaml", "fast.yaml", ())
    said = capsys.readouterr().out
    assert f"B is {verdict}" in said
    assert ("More rounds would settle it" in said) == asks_for_more
    assert ("ask for an interval of 99 %" in said) == says_why
