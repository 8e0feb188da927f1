"""`tune phases` as a user types it, on an engine that fails as it is told."""

import json
from dataclasses import replace
from pathlib import Path

from harness.cli.phases import line
from harness.phases.values import LadderResult, RungResult, RungVerdict
from harness.values import Comparison, Interval, Variant, Verdict
from reports.sections.ladder import _row, answer
from tests.harness.cli.test_commands import tune
from tests.pages import page_set

LADDER = """
ladder: demo
engines: [absent, scripted]
baseline: {scripted: {page_ms: 60}}
rungs:
  - {id: gone, technique: "of another engine", settings: {absent: {x: 1}}}
  - {id: quick, technique: "faster <b>", claim: {gain: [1.2, 1.4]}, settings: {scripted: {page_ms: 20}}}
  - {id: same, technique: "faster again", beside: baseline, settings: {scripted: {page_ms: 20}}}
  - {id: broken, technique: "dies", settings: {scripted: {fault: segfault}}}
  - {id: garbled, technique: "ruins the text", settings: {scripted: {garbled_pct: 20}}}
  - {id: slow, technique: "slower", beside: quick, settings: {scripted: {page_ms: 60}}}
  - {id: told, technique: "no setting", probe: repeated_pages}
  - id: kept
    technique: "keep the process"
    beside: baseline
    quantity: first page
    given: {scripted: {page_ms: 10}}
    settings: {scripted: {}}
  - {id: started, technique: "start", beside: baseline, quantity: cold start, settings: {scripted: {page_ms: 10}}}
"""


def test_a_ladder_gives_every_rung_a_verdict_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    page_set(tmp_path / "pages", 8)
    file, out = tmp_path / "demo.yaml", tmp_path / "out"
    file.write_text(LADDER)
    done = tune("phases", file, "--data", tmp_path / "pages", "--budget", "40s", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    rungs = {rung["id"]: rung for rung in json.loads(done.stdout)["rungs"]}
    # A start takes as long whatever a page does, give or take what the machine is at.
    assert {name: rung["verdict"] for name, rung in rungs.items() if name != "started"} == {
        "gone": "cannot apply",
        "quick": "holds",
        "same": "holds",
        "broken": "failed",
        "garbled": "harmful to accuracy",
        "slow": "worse",
        "told": "cannot apply",
        "kept": "holds",
    }
    assert rungs["told"]["reason"].startswith("None of these 8 pages is there twice")
    assert rungs["kept"]["quantity"] == "first page"
    assert rungs["kept"]["gain"]["speedup"]["value"] > 3
    assert len(rungs["started"]["gain"]["log_ratios"]) >= 2
    assert "absent" in rungs["gone"]["reason"]
    assert rungs["broken"]["failure"]["kind"] == "crash"
    assert rungs["garbled"]["previous"] == "same"
    quick, same = (rungs[name]["gain"]["log_ratios"] for name in ("quick", "same"))
    assert all(a == b for a, b in zip(quick, same, strict=False))  # measured once
    assert rungs["garbled"]["total"]["speedup"]["low"] > 1
    page = (out / "report.html").read_text()
    assert "faster &lt;b&gt;" in page
    again = tune("report", out)
    assert again.returncode == 0, again.stderr
    assert (out / "report.html").read_text() == page
    assert tune("phases", file, "--out", out).returncode == 2


FALLBACK = """
ladder: fallback
engines: [scripted, ppocr]
baseline: {scripted: {fault: raise_on_read}, ppocr: {det_model: v6_tiny, rec_model: v6_tiny, use_cls: false}}
rungs:
  - {id: quick, technique: "faster", settings: {scripted: {page_ms: 5}, ppocr: {use_cls: false}}}
"""


def test_an_engine_that_reads_no_page_as_it_starts_gives_way_to_the_next(tmp_path: Path) -> None:
    page_set(tmp_path / "pages", 2)
    file, out = tmp_path / "fallback.yaml", tmp_path / "out"
    file.write_text(FALLBACK)
    done = tune("phases", file, "--data", tmp_path / "pages", "--budget", "30s", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    (rung,) = json.loads(done.stdout)["rungs"]
    scripted, ppocr = rung["reason"].rstrip(".").split(". ")
    assert (
        scripted
        == "The baseline of scripted fails here: every page failed: ValueError: cannot read this [/here]"
    )
    assert ppocr == "On ppocr here the previous rung has these settings already"


SHORT = """
ladder: short
engines: [scripted]
baseline: {scripted: {page_ms: 40}}
rungs:
  - {id: quick, technique: "faster", settings: {scripted: {page_ms: 5}}}
  - {id: told, technique: "no setting", probe: counters}
  - {id: slow, technique: "slower", settings: {scripted: {page_ms: 80}}}
"""


def test_a_ladder_goes_on_where_it_was_left(tmp_path: Path) -> None:
    page_set(tmp_path / "pages", 6)
    file, out = tmp_path / "short.yaml", tmp_path / "out"
    file.write_text(SHORT)
    arguments = ("phases", file, "--data", tmp_path / "pages", "--out", out)
    assert tune(*arguments, "--budget", "30s").returncode == 0
    whole = json.loads((out / "phases.json").read_text())
    (out / "phases.json").write_text(json.dumps({**whole, "rungs": whole["rungs"][:2]}))
    before = {path: path.stat().st_mtime_ns for path in (out / "work").rglob("spec.json")}
    again = tune(*arguments, "--resume", "--budget", "60s")
    assert again.returncode == 0, again.stderr
    resumed = json.loads((out / "phases.json").read_text())
    assert resumed["rungs"][:2] == whole["rungs"][:2]
    assert [rung["verdict"] for rung in resumed["rungs"]] == ["holds", "cannot apply", "worse"]
    assert [rung["other_verdicts"] for rung in resumed["rungs"]] == [[], [], []]
    assert resumed["spent_s"] > whole["spent_s"]
    measured_again = {path for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns}
    folders = {path.relative_to(out / "work").parts[0] for path in measured_again}
    assert {name for name in folders if not name.startswith("round-")} == {"baseline-scripted", "02-slow"}
    other = tune(*arguments, "--resume", "--seed", "1")
    assert other.returncode == 2
    assert "cannot be resumed: its" in other.stderr


def test_only_a_rung_that_works_and_does_no_harm_is_called_the_highest() -> None:
    a, b = (Variant("scripted", "cpu", {"page_ms": ms}) for ms in (80, 40))
    same, harm = Interval(0.0, 0.0, 0.0), Interval(0.004, 0.003, 0.005)
    gain = Comparison(a, b, (), Interval(1.3, 1.2, 1.4), Verdict.FASTER, same, same, same, pages=8)
    good = RungResult("good", "x", "", RungVerdict.HOLDS, variant=b, gain=gain, total=gain, is_done=True)
    best = replace(gain, speedup=Interval(3.0, 2.9, 3.1))
    dead = replace(good, id="dead", verdict=RungVerdict.FAILED, total=best, reason="crash in read: died.")
    # Each rung adds a little: that of the top against the one below it says nothing of the sum.
    summed = replace(good, id="summed", total=replace(best, cer_increase=harm))
    ladder = LadderResult("x", "", "", "m", {}, "cpu", {}, ("p",), 0, 60.0, 60.0, (good, dead, summed), 4)
    first, interrupted = answer(ladder, "x")
    assert "The highest rung is good: 1.30" in str(first)
    assert "2 of 2 measured rungs hold" in str(first)
    assert "not through with 1 rung" in str(interrupted)
    assert "crash in read: died." in line(dead)


def test_a_close_call_is_said_to_be_one_on_the_terminal_and_in_the_report() -> None:
    a, b = (Variant("scripted", "cpu", {"page_ms": ms}) for ms in (80, 40))
    same = Interval(0.0, 0.0, 0.0)
    gain = Comparison(a, b, (), Interval(1.3, 1.2, 1.4), Verdict.FASTER, same, same, same, pages=8)
    clear = RungResult("x", "x", "", RungVerdict.HOLDS, variant=b, gain=gain)
    close = replace(clear, gain=replace(gain, speedup=Interval(1.1, 1.01, 1.2)))
    assert ["holds or none" in line(rung) for rung in (clear, close)] == [False, True]
    assert [_row(rung).cells[3] for rung in (clear, close)] == ["holds", "holds or none"]
