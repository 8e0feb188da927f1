"""What is known of how variants read, on the scripted engine's space."""

from pathlib import Path

from engines.interface import Line
from harness.search.record import Record
from harness.store import RunFolder
from harness.values import Block, Measurement, PageRecord, TrialResult, Variant
from tests.harness.search.test_tuner import FAST, MACHINE, task


def test_accuracy_is_kept_by_the_settings_that_it_depends_on(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    folder = RunFolder.create(tmp_path / "run")
    record = Record(work.header, work.pages, folder, MACHINE, lambda: 0.0, ["garbled_pct"])

    def block(pages: int, wrong: str = "", first: int = 0) -> Block:
        read = work.header.references[first : first + pages]
        texts = [wrong + reference.text[len(wrong) :] for reference in read]
        records = zip(read, texts, strict=True)
        return Block(
            tuple(PageRecord(page.page_id, (Line(text),), 1.0, {}) for page, text in records), 1.0 * pages
        )

    def trial(variant: Variant, phase: str, pages: int, wrong: str = "") -> TrialResult:
        outcome = Measurement(1.0, (block(pages, wrong),))
        return TrialResult(record.new_number(), variant, phase, 0.0, 1.0, outcome)

    def variant(**settings: int) -> Variant:
        return work.space.suggested(settings)

    record.set_baseline(trial(variant(page_ms=80, garbled_pct=0), "baseline", 16))
    record.judge(trial(variant(page_ms=80, garbled_pct=0), "search", 16))
    assert record.knows_text_of(variant(page_ms=10, garbled_pct=0))
    assert not record.knows_text_of(variant(page_ms=10, garbled_pct=10))
    short = record.judge(trial(variant(page_ms=10, garbled_pct=0), "search", 4))
    assert len(short.more_edits) == 16
    other = record.judge(trial(variant(page_ms=20, garbled_pct=0), "search", 4, wrong="#####"))
    assert len(other.more_edits) == 4  # it reads those otherwise: its own text counts
    bad = [block(4, "#####"), block(12, "#####", first=4)]
    assert record.reads_worse(bad[:1]) is None
    assert record.reads_worse(bad) == "dropped after 16 pages: reads worse for sure"
    assert record.reads_worse([block(4), block(12, first=4)]) is None
