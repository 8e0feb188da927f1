import math
import random
from dataclasses import replace

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.search import plan
from harness.values import ReferencePage

SURE = {"log_gain": 2.0, "noise_sd": 0.05, "gain_sd": 0.0}
"""Any three rounds prove such a gain."""


def page(set_: str, document: str, number: int) -> ReferencePage:
    return ReferencePage(f"{set_}/{document}-{number}", set_, document, "text", "default")


pages = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.integers(0, 3)),
    min_size=1,
    max_size=60,
    unique=True,
).map(lambda keys: [page(s, f"d{d}", n) for s, d, n in keys])


@given(pages, st.integers(0, 5))
def test_no_document_of_a_set_is_on_both_sides(found: list[ReferencePage], seed: int) -> None:
    split = plan.split_pages(found, seed)
    if split.overlap:
        assert split.search == split.confirm
        return
    assert sorted((*split.search, *split.confirm)) == list(range(len(found)))
    sides = [{(found[i].set, found[i].document) for i in part} for part in (split.search, split.confirm)]
    for set_, document in sides[0] & sides[1]:
        # Only a set of one document is split by page.
        assert {p.document for p in found if p.set == set_} == {document}


@given(pages, st.randoms())
def test_names_alone_decide_the_split(found: list[ReferencePage], order: random.Random) -> None:
    shuffled = order.sample(found, len(found))
    sides = [{some[i].page_id for i in plan.split_pages(some).search} for some in (found, shuffled)]
    assert sides[0] == sides[1]


def test_another_seed_splits_otherwise() -> None:
    found = [page("a", f"d{i}", 0) for i in range(40)]
    assert plan.split_pages(found, 1) != plan.split_pages(found)


def test_a_name_that_is_no_text_is_a_name() -> None:
    found = [page("a", "\udcff", 0), page("a", "d", 0)]
    assert sorted(plan.split_pages(found).every) == [0, 1]


def test_one_page_serves_both_and_says_so() -> None:
    assert plan.split_pages([page("a", "d", 0)]) == plan.Split((0,), (0,), overlap=True)


def test_any_prefix_is_a_fair_sample_of_the_sets() -> None:
    found = [page("a", f"d{i}", 0) for i in range(40)] + [page("b", f"d{i}", 0) for i in range(10)]
    split = plan.split_pages(found)
    for part in (split.search, split.confirm):
        assert sorted(found[i].set for i in part[:10]) == ["a"] * 8 + ["b"] * 2


def test_a_language_of_one_document_is_on_both_sides() -> None:
    books = [page("a", f"d{i}", 0) for i in range(10)]
    manual = [replace(page("a", "manual", i), language="ja") for i in range(4)]
    split = plan.split_pages(books + manual)
    for part in (split.search, split.confirm):
        assert sum(i >= len(books) for i in part) == 2


@given(st.integers(1, 100), st.integers(1, 20))
def test_blocks_hold_every_page_once_and_in_order(count: int, size: int) -> None:
    blocks = plan.blocks_of(range(count), size)
    assert [i for block in blocks for i in block] == list(range(count))
    assert len(blocks[0]) == min(size, count) or len(blocks) == 1


@settings(deadline=None)  # the first example loads scipy
@given(
    left_s=st.floats(1, 2000),
    baseline=st.tuples(st.floats(0.1, 20), st.floats(0.01, 30)),
    finalists=st.lists(st.tuples(st.floats(0.1, 20), st.floats(0.01, 30)), min_size=1, max_size=3),
    block=st.integers(1, 16),
    count=st.integers(16, 200),
)
def test_a_plan_fits_into_the_time_that_is_left(
    left_s: float,
    baseline: tuple[float, float],
    finalists: list[tuple[float, float]],
    block: int,
    count: int,
) -> None:
    scheme = plan.plan_confirmation(left_s, baseline, finalists, block, count, **SURE)
    if scheme is None:
        return
    sides = [baseline, *finalists[: scheme.finalists]]
    need_s = scheme.rounds * sum(cold + scheme.pages_per_round * page for cold, page in sides)
    assert need_s <= left_s
    assert scheme.pages_per_round >= block
    assert scheme.pages_per_round % block == 0 or scheme.pages_per_round == count
    assert scheme.rounds >= plan.MIN_CONFIRM_ROUNDS


def test_with_much_time_all_pages_all_finalists_and_all_rounds() -> None:
    scheme = plan.plan_confirmation(1000, (1, 1), [(1, 0.1)] * 3, 4, 60, **SURE)
    assert scheme == plan.ConfirmPlan(finalists=3, rounds=8, pages_per_round=60)


def test_when_time_is_short_pages_come_before_rounds() -> None:
    scheme = plan.plan_confirmation(100, (2, 3), [(1, 0.3)] * 3, 1, 60, **SURE)
    assert scheme is not None
    assert scheme.rounds == plan.MIN_CONFIRM_ROUNDS
    assert scheme.pages_per_round >= 4


def test_pages_of_which_there_are_few_are_read_in_every_round() -> None:
    scheme = plan.plan_confirmation(
        100, (2, 0.2), [(2, 0.1)] * 3, 2, 6, log_gain=0.5, noise_sd=0.05, gain_sd=0.0
    )
    assert scheme is not None
    assert scheme.pages_per_round == 6
    assert scheme.finalists == 3


def test_a_small_gain_takes_rounds_and_a_large_one_finalists() -> None:
    few, many = (
        plan.plan_confirmation(60, (2, 0.2), [(2, 0.1)] * 3, 2, 6, log_gain=gain, noise_sd=0.05, gain_sd=0.0)
        for gain in (0.1, 2.0)
    )
    assert few is not None
    assert many is not None
    assert few.finalists < many.finalists
    assert few.rounds > many.rounds


@pytest.mark.parametrize(("rounds", "finalists", "pages"), [(3, 1, 4), (5, 3, 8)])
def test_the_expected_half_width_is_that_of_students_interval(
    rounds: int, finalists: int, pages: int
) -> None:
    scheme = plan.ConfirmPlan(finalists, rounds, pages)
    sd = 0.06 * math.sqrt(2) * math.sqrt(0.5 + 0.5 * 4 / pages)
    low, high = scipy.stats.t.interval(1 - 0.05 / finalists, rounds - 1, scale=sd / math.sqrt(rounds))
    assert scheme.half_width(0.06, gain_sd=0.0, most=8) == pytest.approx((high - low) / 2)
    of_pages = 0.3 / math.sqrt(pages) * math.sqrt(1 - 0.8 * pages / 8) if pages < 8 else 0.0
    noise_sd = math.hypot(sd, of_pages)
    low, high = scipy.stats.t.interval(1 - 0.05 / finalists, rounds - 1, scale=noise_sd / math.sqrt(rounds))
    assert scheme.half_width(0.06, gain_sd=0.3, most=8) == pytest.approx((high - low) / 2)


def test_rounds_read_all_pages_where_these_differ_in_what_is_gained_on_them() -> None:
    alike, unlike = (
        plan.plan_confirmation(
            300, (4, 2), [(4, 0.3)] * 3, 4, 17, log_gain=2.0, noise_sd=0.04, gain_sd=gain_sd
        )
        for gain_sd in (0.0, 0.35)
    )
    assert alike is not None
    assert unlike is not None
    assert alike.pages_per_round < unlike.pages_per_round == 17
    assert alike.rounds > unlike.rounds


def test_a_finalist_that_starts_too_slowly_does_not_keep_the_others_from_their_proof() -> None:
    quick, slow = (2.0, 0.2), (80.0, 0.2)
    assert plan.plan_confirmation(60.0, quick, [slow, quick, quick], 4, 8, **SURE) is None
    places, scheme = plan.plan_affordable(
        [slow, quick, quick], lambda sides_s: plan.plan_confirmation(60.0, quick, sides_s, 4, 8, **SURE)
    )
    assert places == [1, 2]
    assert scheme == plan.plan_confirmation(60.0, quick, [quick, quick], 4, 8, **SURE)
    assert scheme is not None


def test_no_proof_is_planned_where_none_of_the_finalists_fits() -> None:
    quick, slow = (2.0, 0.2), (80.0, 0.2)
    places, scheme = plan.plan_affordable(
        [slow, slow], lambda sides_s: plan.plan_confirmation(60.0, quick, sides_s, 4, 8, **SURE)
    )
    assert len(places) == 1
    assert scheme is None


def test_few_pages_keep_back_no_more_than_their_longest_confirmation_takes() -> None:
    costs = (2.0, 0.2)
    kept_s = plan.confirmation_s(7200, costs, 6)
    scheme = plan.plan_confirmation(kept_s - plan.REPORT_S, costs, [(2.0, 0.1)] * 3, 2, 6, **SURE)
    assert scheme == plan.ConfirmPlan(finalists=3, rounds=8, pages_per_round=6)
    assert kept_s < 0.1 * 7200


def test_a_slow_baseline_keeps_back_what_enough_pages_need() -> None:
    cold_s, page_s = 4.0, 3.0
    kept_s = plan.confirmation_s(300, (cold_s, page_s), 24)
    scheme = plan.plan_confirmation(kept_s - plan.REPORT_S, (cold_s, page_s), [(2, 0.3)] * 3, 4, 24, **SURE)
    assert scheme is not None
    assert scheme.rounds * scheme.pages_per_round >= 20


@pytest.mark.parametrize("budget_s", [60.0, 600.0, 7200.0])
def test_something_is_always_left_to_search_with(budget_s: float) -> None:
    kept_s = plan.confirmation_s(budget_s, (10.0, 60.0), 64)
    assert plan.CONFIRM_SHARE * budget_s <= kept_s <= plan.UTMOST_CONFIRM_SHARE * budget_s + plan.REPORT_S


@given(st.floats(0, 500), st.floats(0, 60), st.floats(0.01, 60), st.integers(1, 64))
def test_a_round_is_cut_to_the_time_that_is_left(
    round_s: float, cold_s: float, page_s: float, most: int
) -> None:
    count = plan.pages_that_fit(round_s, cold_s, page_s, most)
    assert 0 <= count <= most
    assert count == 0 or cold_s + count * page_s <= round_s
    assert count == most or cold_s + (count + 1) * page_s > round_s / 1.2


def test_a_slow_engine_is_told_by_fewer_pages_and_a_fast_one_by_a_block() -> None:
    assert [plan.first_pages(page_s, 1, 32) for page_s in (0.01, 2.5, 5.0, 22.0)] == [4, 4, 2, 1]


def test_a_first_block_fills_every_replica_where_there_are_pages_for_them() -> None:
    assert plan.first_pages(22.0, 8, 32) == 8
    assert plan.first_pages(0.1, 1024, 32) == 32


def test_a_first_trial_is_hoped_to_be_twice_as_fast_and_later_ones_as_fast_as_the_best() -> None:
    assert plan.first_block_s((10.0, 2.0), 1.0, 4) == 10 + 4
    assert plan.first_block_s((10.0, 2.0), 8.0, 4) == 10 + 1


@pytest.mark.parametrize(
    ("left_s", "order"),
    [(3 * 4.0, ["bold", "bolder", "careful"]), (3 * 4.0 - 0.1, ["bold", "careful", "bolder"]), (-1.0, None)],
)
def test_a_careful_start_comes_last_where_there_is_time_for_all(
    left_s: float, order: list[str] | None
) -> None:
    trials = plan.trials_that_fit(left_s, (2.0, 0.5), 8)
    starts = plan.starts_in_order([{"is": "bold"}, {"is": "bolder"}], [{"is": "careful"}], trials)
    assert [start["is"] for start in starts] == (order or ["bold", "careful", "bolder"])


def test_a_careful_start_is_the_first_where_there_is_no_other() -> None:
    assert plan.starts_in_order([], [{"is": "careful"}], 0) == [{"is": "careful"}]
