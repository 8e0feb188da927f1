"""The recorder on the scripted engine: real processes, killed and taken up again."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import scipy.stats
import yaml

from engines import registry
from engines.interface import Setting
from harness.values import FailureKind
from tests.bench.replay import record
from tests.bench.replay.table import read_table
from tests.pages import write_page

_PLUGIN = Path(__file__).parents[2] / "plugin"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Arguments that record four variants of the scripted engine in one round."""
    monkeypatch.syspath_prepend(_PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(_PLUGIN))
    registry.modules.cache_clear()
    space = {
        "engine": "scripted",
        "rounds": 1,
        "hopeless": 1e6,  # a busy machine must not decide what is cut short
        "search_pages": 4,
        "unseen_pages": 4,
        "grid": {"page_ms": [10, 20], "garbled_pct": [0, 10]},
        "baseline": {"page_ms": 20},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(space))
    for i in range(10):
        write_page(tmp_path / "pages", f"p{i}", f"page {i}, " + "the quick brown fox jumps over. " * (i + 3))
    yield [str(tmp_path / "small.yaml"), "--data", str(tmp_path / "pages"), "--work", str(tmp_path / "work")]
    registry.modules.cache_clear()


def test_a_recording_goes_on_where_it_was_killed_and_keeps_what_was_measured(
    recorded: list[str], tmp_path: Path
) -> None:
    assert record.main([*recorded, "--sample", "2"]) == 0
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("00-*.json")}
    assert len(first) == 2
    (tmp_path / "work" / ".00-dead.json.1.tmp").write_text("[{")  # a write that a kill cut off
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    assert all(path.stat().st_mtime_ns == written for path, written in first.items())
    table = read_table(tmp_path / "table")
    assert len(table.rows) == 4
    assert table.baseline.settings == {"garbled_pct": 0, "page_ms": 20}
    garbled = table.by_id[table.space.variant({"garbled_pct": 10}).id]
    assert table.cer(table.by_id[table.baseline.id]) == 0
    assert table.cer(garbled) > 0.02
    unseen = {page.document for page in table.head.pages if page.unseen}
    assert len(unseen) == 4
    assert not unseen & {page.document for page in table.head.pages if not page.unseen}


def test_a_crash_is_recorded_as_what_it_is(recorded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    space = yaml.safe_load(path.read_text())
    space["grid"] = {"page_ms": [10, 20], "fault": ["none", "segfault"]}
    path.write_text(yaml.safe_dump(space))
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    table = read_table(tmp_path / "table")
    (reading,) = table.by_id[table.space.variant({"page_ms": 10, "fault": "segfault"}).id].rounds
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.CRASH
    assert reading.spent_s > 0


def test_a_hopeless_variant_is_cut_short_marked_and_not_measured_again(
    recorded: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    space = yaml.safe_load(path.read_text())
    space |= {"rounds": 2, "hopeless": 3, "grid": {"page_ms": [5, 500]}, "baseline": {"page_ms": 5}}
    path.write_text(yaml.safe_dump(space))
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    table = read_table(tmp_path / "table")
    (slow,) = table.by_id[table.space.variant({"page_ms": 500}).id].rounds
    assert "times the time of the fastest" in slow.cut
    assert len(slow.page_s) == len(slow.errors) == 4
    baseline = table.by_id[table.baseline.id]
    assert len(baseline.rounds) == 2
    assert all(not reading.cut and len(reading.page_s) == 8 for reading in baseline.rounds)
    assert 0 < table.speed(table.by_id[table.space.variant({"page_ms": 500}).id]) < table.speed(baseline) / 3


def test_the_variants_near_the_optimum_and_the_baseline_get_more_rounds(
    recorded: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    space = yaml.safe_load(path.read_text())
    space |= {"top_rounds": 3, "grid": {"page_ms": [5, 200], "garbled_pct": [0, 10]}}
    space["baseline"] = {"page_ms": 200}
    path.write_text(yaml.safe_dump(space))
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    assert _rounds(tmp_path / "table") == {(200, 0): 3, (5, 0): 3, (200, 10): 1, (5, 10): 1}
    path.write_text(yaml.safe_dump(space | {"top_rounds": 4}))
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    assert _rounds(tmp_path / "table") == {(200, 0): 4, (5, 0): 4, (200, 10): 1, (5, 10): 1}


def _rounds(path: Path) -> dict[tuple[Setting, Setting], int]:
    """By the time of a page and the share that is garbled."""
    return {
        (row.settings["page_ms"], row.settings["garbled_pct"]): len(row.rounds)
        for row in read_table(path).rows
    }


def test_what_is_known_to_be_out_of_it_gets_no_further_rounds(
    recorded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.yaml"
    space = yaml.safe_load(path.read_text())
    space |= {"top_rounds": 3, "grid": {"page_ms": [50, 55]}, "baseline": {"page_ms": 50}}
    path.write_text(yaml.safe_dump(space))
    monkeypatch.setattr(record, "_LUCK", 0.5)
    recording = record.prepare(path, recorded[2:3], tmp_path / "work")
    both = recording.variants()
    for number in range(2):
        assert recording.missing()[0][0] == number
        for variant in both:
            recording.record(number, variant)
    monkeypatch.setattr(record, "_LUCK", 0.0)
    assert recording.missing() == [(2, both[0])]


def test_the_estimate_is_the_t_interval_of_the_mean_without_the_baseline() -> None:
    took = [60.0, 3.0, 4.0, 5.0, 4.5]
    low, high = record.minutes_left(took, 120)
    expected = scipy.stats.t.interval(0.95, 3, loc=4.125, scale=scipy.stats.sem(took[1:]))
    assert (low, high) == pytest.approx((2 * expected[0], 2 * expected[1]))
    assert record.minutes_left([60.0], 2) == (0.0, math.inf)
    assert record.minutes_left([60.0], 0) == (0.0, 0.0)


def test_a_folder_of_another_recording_is_refused(
    recorded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record.main([*recorded, "--sample", "1"]) == 0
    path = tmp_path / "small.yaml"
    path.write_text(path.read_text().replace("unseen_pages: 4", "unseen_pages: 5"))
    assert record.main(recorded) == 2
    assert "choose another --work" in capsys.readouterr().err


def test_a_deep_queue_does_not_count_as_work_on_a_page(recorded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    space = yaml.safe_load(path.read_text())
    space |= {"grid": {"prefetch": [0, 8]}, "fixed": {"page_ms": 20}, "baseline": {"prefetch": 8}}
    path.write_text(yaml.safe_dump(space))
    assert record.main([*recorded, "-o", str(tmp_path / "table")]) == 0
    for row in read_table(tmp_path / "table").rows:
        (reading,) = row.rounds
        assert sum(reading.page_s) < 2 * reading.wall_s  # all pages wait at once in the deep queue


def test_a_baseline_off_the_grid_is_refused(
    recorded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"baseline": {"page_ms": 80}}))
    assert record.main(recorded) == 2
    assert "page_ms=80 of the baseline is not in the grid" in capsys.readouterr().err
