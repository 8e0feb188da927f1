import pytest

from harness.phases.schedule import ENOUGH_ROUNDS, NONE, Cost, Rounds, plan_rounds, shortest_s

QUICK = Cost(start_s=1.9, page_s=0.5)
MOST_ROUNDS = 8


@pytest.mark.parametrize(
    ("left_s", "sides", "block", "planned"),
    [
        (1000.0, 2, 1, Rounds(MOST_ROUNDS, 4)),
        (39.0, 2, 1, Rounds(4, 4)),
        (37.0, 2, 1, Rounds(5, 2)),
        (25.0, 2, 1, Rounds(4, 1)),
        (12.0, 2, 1, Rounds(2, 1)),
        (5.0, 2, 1, Rounds(0, 0)),
        (1000.0, 3, 4, Rounds(MOST_ROUNDS, 16)),
    ],
)
def test_rounds_come_before_pages_and_fit_with_a_fifth_to_spare(
    left_s: float, sides: int, block: int, planned: Rounds
) -> None:
    assert plan_rounds(left_s, [QUICK] * sides, block, NONE, MOST_ROUNDS) == planned
    assert planned.rounds * sides * (QUICK.start_s + QUICK.page_s * planned.pages) * 1.2 <= left_s


@pytest.mark.parametrize(
    ("left_s", "done", "planned"),
    [
        (1000.0, Rounds(3, 1), Rounds(5, 4)),
        (1000.0, Rounds(8, 4), Rounds(0, 0)),
        (12.0, Rounds(3, 1), Rounds(1, 4)),
        (6.5, Rounds(3, 1), Rounds(1, 1)),
        (6.5, Rounds(3, 2), Rounds(0, 0)),
        (1000.0, Rounds(3, 16), Rounds(5, 16)),
    ],
)
def test_rounds_that_are_done_count_and_none_is_shorter(left_s: float, done: Rounds, planned: Rounds) -> None:
    assert plan_rounds(left_s, [QUICK] * 2, 1, done, MOST_ROUNDS) == planned


def test_where_starting_takes_most_of_a_round_it_has_all_its_pages() -> None:
    assert plan_rounds(60.0, [Cost(start_s=10.0, page_s=0.5)] * 2, 1, NONE, MOST_ROUNDS) == Rounds(2, 4)


def test_a_second_look_adds_to_the_first() -> None:
    assert plan_rounds(1000.0, [QUICK] * 2, 1, Rounds(MOST_ROUNDS, 4), 2 * MOST_ROUNDS).rounds == MOST_ROUNDS


def test_a_slow_side_leaves_room_for_fewer() -> None:
    slow = Cost(start_s=20.0, page_s=5.0)
    both = (plan_rounds(60.0, [QUICK, side], 1, NONE, MOST_ROUNDS).rounds for side in (slow, QUICK))
    assert next(both) < next(both)


@pytest.mark.parametrize(("sides", "block"), [(2, 1), (3, 1), (2, 4)])
def test_the_shortest_rounds_are_what_fits_into_their_time(sides: int, block: int) -> None:
    costs = [QUICK] * sides
    left_s = ENOUGH_ROUNDS * shortest_s(costs, block)
    assert plan_rounds(left_s + 0.001, costs, block, NONE, MOST_ROUNDS).rounds == ENOUGH_ROUNDS
    assert plan_rounds(left_s - 0.1, costs, block, NONE, MOST_ROUNDS).rounds == ENOUGH_ROUNDS - 1
