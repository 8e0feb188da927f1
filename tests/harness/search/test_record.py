"""What is known of how variants read, on the scripted engine's space."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from engines.interface import Line
from harness.search.record import Record
from harness.store import RunFolder
from harness.values import (
    Block,
    Comparison,
    Constraints,
    CounterSample,
    Failure,
    FailureKind,
    Interval,
    Measurement,
    PageRecord,
    TrialResult,
    Variant,
    Verdict,
)
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


def test_a_run_that_is_taken_up_knows_what_stood_in_for_ground_truth_in_its_proof(
    scripted: str, tmp_path: Path
) -> None:
    work = task(tmp_path, FAST, truth=False)
    record = Record(work.header, work.pages, RunFolder.create(tmp_path / "run"), MACHINE, lambda: 0.0, [])

    def trial(number: int, phase: str, page: int, text: str) -> TrialResult:
        read = PageRecord(work.header.references[page].page_id, (Line(text),), 1.0, {})
        outcome = Measurement(1.0, (Block((read,), 1.0),))
        return TrialResult(number, work.space.variant({}), phase, 0.0, 1.0, outcome)

    searched = trial(0, "baseline", 0, "searched")
    record.recall([searched, trial(1, "confirm", 1, "proven")])
    record.set_baseline(searched)
    assert [reference.text for reference in record.references[:3]] == ["searched", "proven", ""]


def test_the_first_pages_of_a_trial_are_judged_by_those_of_others_as_fast(
    scripted: str, tmp_path: Path
) -> None:
    work = task(tmp_path, FAST)
    folder = RunFolder.create(tmp_path / "run")
    record = Record(work.header, work.pages, folder, MACHINE, lambda: 0.0, [])

    def measured(*blocks: tuple[int, float]) -> Measurement:
        """Blocks are so many pages, and seconds a page."""
        read, pages = [], iter(work.header.references)
        for count, page_s in blocks:
            records = tuple(PageRecord(next(pages).page_id, (), page_s, {}) for _ in range(count))
            read.append(Block(records, count * page_s))
        return Measurement(1.0, tuple(read))

    def trial(page_ms: int, *blocks: tuple[int, float]) -> TrialResult:
        variant = work.space.suggested({"page_ms": page_ms})
        return TrialResult(record.new_number(), variant, "search", 0.0, 1.0, measured(*blocks))

    record.set_baseline(trial(80, (16, 1.0)))
    alone = record.judge(trial(40, (4, 0.2)))
    assert alone.log_speedup == pytest.approx(math.log(1.0 / 0.2))
    # A variant that is slow on its first pages tells what those of its like are worth.
    whole = record.judge(trial(20, (4, 0.2), (12, 0.1)))
    assert whole.log_speedup == pytest.approx(math.log(16 / 2.0))
    part = record.judge(trial(10, (4, 0.2)))
    assert part.log_speedup == pytest.approx(whole.log_speedup)
    race = record.race(whole)
    assert race.lost(measured((4, 0.2)).blocks) is None  # as fast as the leader was on them
    assert race.lost(measured((4, 0.3)).blocks) == "dropped after 4 pages: 33 % slower than the best"
    # Beside one that is not sure to be accurate enough, what is fast enough to be a finalist is read on.
    bold = replace(whole, violations={"cer": 0.001}, chance_of_proof=0.0, log_speedup=math.log(256))
    assert record.race(bold).gain == 1.0  # it promises nothing
    bold = replace(bold, chance_of_proof=0.5)
    assert record.race(bold).gain == pytest.approx(2.0, rel=0.01)  # a quarter of what it promises
    assert record.race(bold).lost(measured((4, 0.39)).blocks) is None
    assert "slower than what is worth a proof" in str(record.race(bold).lost(measured((4, 0.9)).blocks))
    assert "slower than the baseline" in str(record.race(None).lost(measured((4, 1.1)).blocks))


def test_a_proven_winner_that_misses_a_bound_of_now_is_one_no_more(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    fast = work.space.suggested({"page_ms": 10})
    one, increase = Interval(0.02, 0.01, 0.03), Interval(0.0, -0.001, 0.001)
    proof = Comparison(fast, fast, (0.5,) * 3, Interval(3, 2, 4), Verdict.FASTER, one, one, increase, 10)
    page = PageRecord(work.header.references[0].page_id, (), 0.01, {})
    used = Measurement(1.0, (Block((page,), 0.01),), (CounterSample(0.5, {"rss_mib": 3000.0}),))

    def best(**bounds: float) -> Variant | None:
        header = replace(
            work.header, best=fast, comparisons=(proof,), constraints=replace(Constraints(), **bounds)
        )
        folder = RunFolder.create(tmp_path / f"run{len(bounds)}{sum(bounds.values()):.0f}")
        record = Record(header, work.pages, folder, MACHINE, lambda: 0.0, [])
        record.recall([TrialResult(1, fast, "search", 0.0, 1.0, used)])
        return record.best

    assert best() == best(max_memory_mib=4000.0) == fast
    assert best(max_memory_mib=1000.0) is None


def test_a_crash_in_the_proof_refutes_and_a_want_of_memory_does_not(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    record = Record(
        work.header, work.pages, RunFolder.create(tmp_path / "run"), MACHINE, lambda: 0.0, ["garbled_pct"]
    )
    base, fast = work.space.suggested({}), work.space.suggested({"page_ms": 10})
    pages = tuple(PageRecord(r.page_id, (Line(r.text),), 1.0, {}) for r in work.header.references)
    record.set_baseline(TrialResult(0, base, "baseline", 0.0, 1.0, Measurement(1.0, (Block(pages, 16.0),))))

    def ended(variant: Variant, kind: FailureKind) -> TrialResult:
        return TrialResult(1, variant, "confirm", 0.0, 1.0, Failure(kind, "read", "died"))

    assert record.refutes(ended(fast, FailureKind.CRASH))
    assert not record.refutes(ended(fast, FailureKind.OOM))
    assert not record.refutes(ended(base, FailureKind.CRASH))
