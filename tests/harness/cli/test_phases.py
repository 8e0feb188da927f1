"""`tune phases` as a user types it, on an engine that fails as it is told."""

import json
from pathlib import Path

from tests.harness.cli.test_commands import tune
from tests.pages import page_set

LADDER = """
ladder: demo
engines: [absent, scripted]
baseline: {scripted: {page_ms: 60}}
rungs:
  - {id: gone, technique: "of another engine", settings: {absent: {x: 1}}}
  - {id: quick, technique: "faster <b>", claim: {gain: [1.2, 1.4]}, settings: {scripted: {page_ms: 20}}}
  - {id: broken, technique: "dies", settings: {scripted: {fault: segfault}}}
  - {id: garbled, technique: "ruins the text", settings: {scripted: {garbled_pct: 20}}}
  - {id: slow, technique: "slower", beside: quick, settings: {scripted: {page_ms: 60}}}
  - {id: told, technique: "no setting", covered: "It is done anyway."}
"""


def test_a_ladder_gives_every_rung_a_verdict_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    page_set(tmp_path / "pages", 8)
    file, out = tmp_path / "demo.yaml", tmp_path / "out"
    file.write_text(LADDER)
    done = tune("phases", file, "--data", tmp_path / "pages", "--budget", "60s", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    rungs = {rung["id"]: rung for rung in json.loads(done.stdout)["rungs"]}
    assert {name: rung["verdict"] for name, rung in rungs.items()} == {
        "gone": "cannot apply",
        "quick": "holds",
        "broken": "failed",
        "garbled": "harmful to accuracy",
        "slow": "worse",
        "told": "no setting",
    }
    assert "absent" in rungs["gone"]["reason"]
    assert rungs["broken"]["failure"]["kind"] == "crash"
    assert rungs["garbled"]["previous"] == "quick"
    assert rungs["garbled"]["total"]["speedup"]["low"] > 1
    page = (out / "report.html").read_text()
    assert "faster &lt;b&gt;" in page
    again = tune("report", out)
    assert again.returncode == 0, again.stderr
    assert (out / "report.html").read_text() == page
    assert tune("phases", file, "--out", out).returncode == 2
