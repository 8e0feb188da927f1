from dataclasses import replace
from pathlib import Path

import jiwer
import pytest

from engines.interface import Line, Machine
from harness.data import PageRef
from harness.errors import UserError
from harness.machine import detect
from harness.measure import Bench
from harness.space import Space
from harness.store import RunFolder
from harness.values import Block, Interval, Measurement, PageRecord
from tests.bench import numerics
from tests.pages import page_set

MACHINE = detect()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Six pages of two sets."""
    pages, references = page_set(tmp_path / "pages", 6)
    sets = ["first", "first", "first", "second", "second", "second"]
    return Bench(
        tuple(replace(page, set=name) for page, name in zip(pages, sets, strict=True)),
        tuple(replace(reference, set=name) for reference, name in zip(references, sets, strict=True)),
        tmp_path / "scratch",
        MACHINE,
    )


def texts(bench: Bench, *pages: str) -> Measurement:
    """These texts as what was read on the pages of the bench."""
    records = [
        PageRecord(page.id, tuple(map(Line, text.splitlines())), 0.1, {})
        for page, text in zip(bench.pages, pages, strict=True)
    ]
    return Measurement(1.0, (Block(tuple(records), 0.6),))


def test_pages_are_spread_over_each_set_and_none_is_calibrated_on(bench: Bench) -> None:
    read, calibration = numerics.split(bench.pages, 2)
    assert read == [0, 1, 3, 4]
    assert calibration == [2, 5]
    many: tuple[PageRef, ...] = bench.pages * 10
    read, calibration = numerics.split(many, 3)
    assert [many[index].set for index in read] == ["first"] * 3 + ["second"] * 3
    assert len(calibration) == numerics.CALIBRATION_PAGES
    assert not set(read) & set(calibration)


def test_no_page_left_to_calibrate_on_is_said(bench: Bench) -> None:
    with pytest.raises(UserError, match="none is left to calibrate"):
        numerics.split(bench.pages, 3)


def test_the_reference_is_identical_to_itself(bench: Bench) -> None:
    same = texts(bench, *(reference.text for reference in bench.references))
    found = numerics.rows(bench, numerics.REFERENCE, same, same)
    assert [row.set for row in found] == ["first", "second", numerics.ALL]
    assert [row.pages for row in found] == [3, 3, 6]
    for row in found:
        assert row.identical == 1.0
        assert row.cer == row.cer_increase == Interval(0.0, 0.0, 0.0)


def test_a_line_counts_where_it_is_on_the_same_page_and_errors_count_against_the_truth(bench: Bench) -> None:
    truth = [reference.text for reference in bench.references]
    reference = texts(bench, "one\ntwo\ntwo", "three", *truth[2:])
    # One of the two equal lines is lost, another stands on a page where it does not belong.
    other = texts(bench, "two\none\nthree", "thre", *truth[2:])
    first, second, _ = numerics.rows(bench, "other", reference, other)
    assert first.lines == 5
    assert first.identical == 3 / 5
    assert second.identical == 1.0
    read = ["two one three", "thre", truth[2]]
    assert first.cer is not None
    assert first.cer.value == pytest.approx(
        jiwer.cer([text.strip() for text in truth[:3]], [t.strip() for t in read])
    )


def test_pages_without_ground_truth_leave_the_lines(bench: Bench) -> None:
    untold = replace(bench, references=tuple(replace(page, text="") for page in bench.references))
    found = numerics.rows(untold, "other", texts(bench, *"abcdef"), texts(bench, *"abcdeg"))
    assert [(row.cer, row.identical) for row in found] == [(None, 1.0), (None, 2 / 3), (None, 5 / 6)]
    assert "| other | 66.7 % | no ground truth |  |" in numerics.markdown(found, {})


def test_the_table_over_all_sets_comes_first_and_failures_last(bench: Bench) -> None:
    reference = texts(bench, *(page.text for page in bench.references))
    found = numerics.rows(bench, numerics.REFERENCE, reference, reference)
    found += numerics.rows(bench, "other", reference, texts(bench, *"abcdef"))
    text = numerics.markdown(found, {"third": "it is not installed"})
    assert [line for line in text.splitlines() if line.startswith("###")] == [
        "### all sets: 6 pages, 6 lines",
        "### first: 3 pages, 3 lines",
        "### second: 3 pages, 3 lines",
    ]
    assert text.endswith("- third could not run: it is not installed\n")


def test_every_row_is_a_variant_of_its_own_and_the_reference_is_plain() -> None:
    calibration = {"det_calibration": "0" * 16, "rec_calibration": "0" * 16}
    found = numerics.variants(Machine("test", 2, 8192), "v6_small", calibration)
    assert len({variant.id for variant in found.values()}) == len(numerics.VARIANTS)
    plain = found[numerics.REFERENCE].settings
    assert {plain[f"{stage}_runtime"] for stage in ("det", "rec")} == {"onnxruntime"}
    assert {plain[f"{stage}_quantization"] for stage in ("det", "rec")} == {"none"}
    for name, settings in numerics.VARIANTS.items():
        assert settings.items() <= found[name].settings.items(), name


def test_what_was_read_is_not_read_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = Space.of("ppocr", "cpu", MACHINE).suggested({"det_model": "v6_tiny", "use_cls": False})
    folder = RunFolder.create(tmp_path / "out")
    first = numerics.read(bench, folder, 0, variant)
    assert isinstance(first, Measurement)
    assert [page.page_id for page in first.pages] == [page.id for page in bench.pages]
    monkeypatch.delattr(numerics, "measure")
    assert numerics.read(bench, folder, 0, variant) == first
    fewer = replace(bench, pages=bench.pages[:2])
    with pytest.raises(NameError):  # other pages are measured
        numerics.read(fewer, folder, 0, variant)
