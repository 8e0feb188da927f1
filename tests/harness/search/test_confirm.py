from dataclasses import replace

from harness.search.confirm import SideBySide, best_of, winner
from harness.values import Block, Comparison, Constraints, Interval, PageRecord, Round, Variant, Verdict


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


def test_a_finalist_that_surely_reads_one_set_worse_does_not_win() -> None:
    found = comparison("mixed", 9, 0.0)

    def best(slips: Interval) -> Variant | None:
        sets = {"books": Interval(-0.05, -0.07, -0.03), "slips": slips}
        return best_of([replace(found, cer_increase_by_set=sets)], 0.002)

    assert best(Interval(0.02, 0.0001, 0.04)) is None
    assert best(Interval(0.02, -0.0001, 0.04)) == found.b  # perhaps worse
    assert best(Interval(0.001, 0.0005, 0.0015)) == found.b  # worse by less than the margin


def read_beside(*finalists: Comparison, peaks: tuple[float, ...] = ()) -> SideBySide:
    """Three rounds would do as well as this one: what is asked of them is their sides and peaks."""
    block = (Block((PageRecord("p", (), 1.0, {}),), 1.0),)
    sides = len(finalists) + 1
    one = Round((block,) * sides, (1.0,) * sides, (2.0,) * len(finalists), peaks or (100.0,) * sides)
    return SideBySide((finalists[0].a, *(found.b for found in finalists)), (one,), (), stopped=False)


def test_a_finalist_that_needs_too_much_memory_in_the_rounds_does_not_win() -> None:
    large, small = comparison("large", 9, 0.0), comparison("small", 3, 0.0)
    read = read_beside(large, small, peaks=(100.0, 900.0, 300.0))
    assert winner(read, (large, small), Constraints()) == large.b
    assert winner(read, (large, small), Constraints(max_memory_mib=500)) == small.b


def test_what_was_proven_before_stands_until_something_better_is_or_it_fails_itself() -> None:
    standing = comparison("standing", 3, 0.0)
    better, worse, inaccurate = (
        comparison("new", 4, 0.0),
        comparison("new", 2, 0.0),
        comparison("new", 4, 0.1),
    )
    bounds = Constraints()
    assert winner(read_beside(worse), (worse,), bounds, standing) == standing.b
    assert winner(read_beside(inaccurate), (inaccurate,), bounds, standing) == standing.b
    assert winner(read_beside(better), (better,), bounds, standing) == better.b
    refuted = comparison("standing", 0.9, 0.0)
    assert winner(read_beside(refuted), (refuted,), bounds, standing) is None
