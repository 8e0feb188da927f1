from harness.search.confirm import best_of
from harness.values import Comparison, Interval, Variant, Verdict


def comparison(name: str, low: float, cer_high: float) -> Comparison:
    a, b = Variant("base", "cpu", {}), Variant(name, "cpu", {})
    one = Interval(0.02, 0.01, 0.03)
    cer = Interval(cer_high / 2, 0.0, cer_high)
    return Comparison(a, b, (0.5,) * 3, Interval(low + 1, low, low + 2), Verdict.FASTER, one, one, cer, 10)


def test_the_winner_is_the_best_lower_bound_among_the_accurate() -> None:
    bold, sure, slower = comparison("bold", 9, 0.01), comparison("sure", 3, 0.001), comparison("slow", 2, 0.0)
    assert best_of([bold, slower, sure], 0.002) == sure.b
    assert best_of([bold], 0.002) is None
    assert best_of([comparison("same", 0.9, 0.0)], 0.002) is None
    assert best_of([], 0.002) is None
