import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.words import clean, duration, factor, number, percent, points, shorten


@given(st.text(alphabet=st.characters(codec=None)))
def test_cleaned_text_has_no_character_that_acts_on_a_page(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    kept = "\n\t\u200c\u200d\u00ad"
    assert not [
        char for char in cleaned if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in kept
    ]


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_cleaning_leaves_printed_text_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0.312, "0.312"), (1.3, "1.30"), (12.44, "12.4"), (1340.2, "1,340"), (0, "0"), (-2.5, "−2.50")),
        *((None, "–"), (math.nan, "–"), (math.inf, "–"), (0.00012, "0.000120"), (1e-9, "0.000000")),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_rates_differences_ratios_and_times_read_as_people_write_them() -> None:
    assert percent(0.02314) == "2.31\xa0%"
    assert points(-0.0031) == "−0.31"
    assert points(0.001) == "+0.10"
    assert factor(4.2) == "4.20×"
    assert [duration(s) for s in (0.4, 48, 598, 7500)] == [
        "0.40\xa0s",
        "48\xa0s",
        "9\xa0min 58\xa0s",
        "2\xa0h 5\xa0min",
    ]
    assert shorten("abcdef", 4) == "abc…"
