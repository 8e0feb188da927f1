"""The statistics of the gate, on simulated rounds and pages."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from engines.interface import Line
from harness.accuracy.scores import PageScore, score_page
from harness.check.verdicts import Finding, Outcome, Tolerances, findings, holm, speed_outcome
from harness.values import Block, PageRecord, ReferencePage, Round

TEXT = [f"line {i} of the page: the quick brown fox" for i in range(40)]


def scores(lines: list[list[str]], name: str = "set") -> list[PageScore]:
    return [
        score_page(
            ReferencePage(f"{name}/p{i}", name, f"{name}/d{i}", "\n".join(TEXT), "default"),
            [Line(text, None, 1.0) for text in page],
        )
        for i, page in enumerate(lines)
    ]


def rounds(log_ratios: list[float]) -> list[Round]:
    def side(wall_s: float) -> tuple[Block, ...]:
        return (Block((PageRecord("p0", (), wall_s, {}),), wall_s),)

    return [Round((side(1.0), side(float(np.exp(-x)))), (1.0, 1.0), (x,), (100.0, 100.0)) for x in log_ratios]


def judged(current: list[list[str]], pages: int = 24) -> dict[str, Finding]:
    found = findings(rounds([0.0] * 5), scores([TEXT] * pages), scores(current), (0, 0), Tolerances())
    return {finding.name: finding for finding in found}


def decided(true_slowdown: float, rng: np.random.Generator, sd: float = 0.02, most: int = 25) -> Outcome:
    values: list[float] = []
    for number in range(most):
        values.append(float(rng.normal(np.log(1 - true_slowdown), sd)))
        if number >= 4 and (outcome := speed_outcome(values, 0.05)) is not Outcome.INCONCLUSIVE:
            return outcome
    return Outcome.INCONCLUSIVE


def test_speed_verdicts_are_right_however_often_one_looks() -> None:
    rng = np.random.default_rng(0)
    unchanged = [decided(0.0, rng) for _ in range(300)]
    slowed = [decided(0.08, rng) for _ in range(300)]
    assert unchanged.count(Outcome.REGRESSION) <= 3
    assert unchanged.count(Outcome.PASS) >= 285
    assert slowed.count(Outcome.PASS) <= 3
    assert slowed.count(Outcome.REGRESSION) >= 285


def test_equal_text_is_exact_evidence() -> None:
    found = judged([TEXT] * 24)
    assert {finding.outcome for finding in found.values()} == {Outcome.PASS}
    assert found["cer"].worse.low == found["cer"].worse.high == 0


@pytest.mark.parametrize("seed", range(10))
def test_two_per_cent_of_lines_dropped_is_a_regression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = np.ones(24 * len(TEXT), dtype=bool)
    kept[rng.choice(kept.size, round(0.02 * kept.size), replace=False)] = False
    pages = [
        [line for line, keep in zip(TEXT, row, strict=True) if keep] for row in kept.reshape(24, len(TEXT))
    ]
    found = judged(pages)
    assert found["lines_per_page"].outcome is Outcome.REGRESSION
    assert found["cer"].outcome is Outcome.REGRESSION


@pytest.mark.parametrize("seed", range(10))
def test_half_a_per_cent_of_characters_swapped_is_a_regression_and_no_loss_of_volume(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pages = [["".join("#" if rng.random() < 0.005 else c for c in line) for line in TEXT] for _ in range(24)]
    found = judged(pages)
    assert found["cer"].outcome is Outcome.REGRESSION
    assert found["lines_per_page"].outcome is Outcome.PASS


def test_what_one_data_set_gains_does_not_hide_what_another_loses() -> None:
    misread = [[line.replace("fox", "f0x") for line in TEXT]] * 12
    sides = [
        [*scores(books, "books"), *scores(receipts, "receipts")]
        for books, receipts in ((misread, [TEXT] * 12), ([TEXT] * 12, misread))
    ]
    found = {f.name: f for f in findings(rounds([0.0] * 5), sides[0], sides[1], (0, 0), Tolerances())}
    assert found["cer"].worse.value == 0
    assert found["cer_books"].outcome is Outcome.PASS
    assert found["cer_receipts"].outcome is Outcome.REGRESSION


def test_a_data_set_of_few_pages_leaves_nothing_open_that_the_whole_has_proven() -> None:
    once = [[*TEXT[:-6], *(line.replace("f", "t", 1) for line in TEXT[-6:])], *[TEXT] * 2]
    sides = [
        [*scores([TEXT] * 40, "books"), *scores(receipts, "receipts")] for receipts in ([TEXT] * 3, once)
    ]
    found = findings(rounds([0.0] * 5), sides[0], sides[1], (0, 0), Tolerances())
    assert {finding.outcome for finding in found} == {Outcome.PASS}


def test_a_better_engine_passes() -> None:
    worse = [[line.replace("fox", "f0x") for line in TEXT]] * 24
    found = findings(rounds([0.2] * 5), scores(worse), scores([TEXT] * 24), (1, 0), Tolerances())
    assert {finding.outcome for finding in found} == {Outcome.PASS}


def test_one_page_alone_gives_no_pass_and_no_regression_of_text_that_differs() -> None:
    assert judged([[*TEXT[:-1], "line 39"]], pages=1)["cer"].outcome is Outcome.INCONCLUSIVE


def test_a_page_that_fails_now_is_a_regression() -> None:
    found = findings(rounds([0.0] * 5), scores([TEXT]), scores([[]]), (0, 1), Tolerances())
    assert {f.name: f.outcome for f in found}["failed_pages"] is Outcome.REGRESSION


def test_more_memory_in_every_round_is_a_regression() -> None:
    made = [
        Round(r.blocks, r.cold_start_s, r.log_ratios, (100.0 + i, 130.0 + i))
        for i, r in enumerate(rounds([0.0] * 6))
    ]
    found = findings(made, scores([TEXT] * 6), scores([TEXT] * 6), (0, 0), Tolerances())
    assert {f.name: f.outcome for f in found}["peak_memory"] is Outcome.REGRESSION


def test_holm_corrects_as_its_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    rng = np.random.default_rng(1)
    values = rng.random(8)
    assert all(
        h >= b - 1e-12 for h, b in zip(holm(list(values)), false_discovery_control(values), strict=True)
    )


def resources(log_ratios: list[float]) -> dict[str, Outcome]:
    """The outcomes where cold start and memory differ by these logarithms, round by round."""
    made = [
        Round(r.blocks, (1.0, float(np.exp(x))), r.log_ratios, (100.0, 100.0 * float(np.exp(x))))
        for r, x in zip(rounds([0.0] * len(log_ratios)), log_ratios, strict=True)
    ]
    found = findings(made, scores([TEXT] * 6), scores([TEXT] * 6), (0, 0), Tolerances())
    return {f.name: f.outcome for f in found}


def test_a_noisy_machine_leaves_cold_start_and_memory_of_an_unchanged_build_no_question() -> None:
    rng = np.random.default_rng(0)
    nights = [resources(list(rng.normal(0, 0.15, 8) + 0.8 * (rng.random(8) < 0.1))) for _ in range(100)]
    assert sum(night["cold_start"] is not Outcome.PASS for night in nights) <= 5
    assert sum(night["cold_start"] is Outcome.REGRESSION for night in nights) == 0


def test_a_cold_start_that_takes_half_as_long_again_is_a_regression_in_noise_too() -> None:
    rng = np.random.default_rng(0)
    nights = [resources(list(rng.normal(np.log(1.5), 0.15, 8))) for _ in range(50)]
    assert sum(night["cold_start"] is Outcome.REGRESSION for night in nights) >= 45
    assert not any(night["cold_start"] is Outcome.PASS for night in nights[:25])


def test_one_start_of_ten_times_the_length_is_no_regression() -> None:
    assert resources([0.0, 2.3, 0.0, 0.01, -0.01, 0.0, 0.02, 0.0])["cold_start"] is Outcome.PASS
