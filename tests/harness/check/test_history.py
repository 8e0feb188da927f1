"""The record of many nights, and where its trend changed."""

from pathlib import Path

import numpy as np
import pytest

from harness.check.history import Night, Point, append, change_points, read
from harness.check.verdicts import Outcome
from harness.errors import UserError
from reports import render_history


def night(number: int, value: float = 10.0, fingerprint: str = "abc") -> Night:
    return Night(
        at=f"2026-01-{number + 1:02d}T00:00:00+00:00",
        fingerprint=fingerprint,
        machine="<b>a machine</b>",
        commit=f"{number:040x}",
        against="v1",
        versions={"rapidocr": "3.9" if number < 10 else "3.10"},
        data={"set": "0" * 64},
        pages=12,
        rounds=5,
        outcome=Outcome.PASS,
        metrics={"throughput": Point(baseline=10, current=value, worse=0, outcome=Outcome.PASS)},
    )


def test_a_torn_last_line_spoils_neither_the_nights_before_nor_the_next(tmp_path: Path) -> None:
    path = append(tmp_path, night(0))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    append(tmp_path, night(1))
    found = read(tmp_path)
    assert found.nights == (night(0), night(1))
    assert found.unreadable == 1


def test_a_line_of_no_machine_of_ours_is_left_out(tmp_path: Path) -> None:
    path = append(tmp_path, night(0))
    hostile = night(1).model_dump_json().replace('"abc"', '"\\"><script>"')
    path.write_text(path.read_text() + hostile + "\n")
    assert read(tmp_path).nights == (night(0),)


def test_a_night_without_figures_says_why(tmp_path: Path) -> None:
    failed = night(0).model_copy(update={"metrics": {}, "failure": "it died", "outcome": Outcome.REGRESSION})
    append(tmp_path, failed)
    page = render_history(read(tmp_path))
    assert "it died" in page
    assert "every metric passed" not in page


def test_a_history_without_a_night_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"at": 3}\n\xff\xfe\n[]\n')
    with pytest.raises(UserError, match="holds no night"):
        read(tmp_path)


def test_a_lasting_change_is_found_where_it_happened() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = [*rng.normal(10, 0.15, 30), *rng.normal(9.2, 0.15, 30)]
        (found,) = change_points(values)
        assert abs(found - 30) <= 2


def test_noise_and_single_spikes_are_no_change() -> None:
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(50):
        values = rng.normal(10, 0.15, 60)
        values[rng.integers(60)] *= 0.4
        false += bool(change_points(list(values)))
    assert false <= 3


@pytest.mark.parametrize("values", [[], [1.0], [3.0] * 40, [0.0] * 40])
def test_short_and_constant_histories_have_no_change(values: list[float]) -> None:
    assert change_points(values) == []


def test_the_page_names_the_commit_and_the_version_of_a_change_and_escapes_its_text(tmp_path: Path) -> None:
    for number in range(20):
        append(tmp_path, night(number, 10 + 0.01 * (number % 3) if number < 10 else 8 + 0.01 * (number % 3)))
    html = render_history(read(tmp_path))
    assert "<b>a machine" not in html
    assert f"commit {10:040x}"[:19] in html
    assert "rapidocr 3.9 to 3.10" in html
