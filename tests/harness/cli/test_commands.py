"""The commands as a user types them, in a process of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jiwer
import pytest
import yaml

from harness.machine import Caution
from tests.harness.conftest import PLUGIN
from tests.harness.data.conftest import pdf_bytes
from tests.pages import page_set, write_page

ENGINE = ["--engine", "scripted"]


def tune(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from harness.cli.app import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PLUGIN), "COLUMNS": "200"},
        check=False,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "pages"
    page_set(folder, 12)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pages: Path) -> Path:
    """A finished run of the main job."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = tune(*ENGINE, "--budget", "45s", "--data", pages, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["config"]["engine"] == "scripted"
    return out


def test_the_main_job_leaves_a_config_a_report_and_every_trial(run: Path) -> None:
    config = yaml.safe_load((run / "best.yaml").read_text())
    assert config["settings"]["garbled_pct"] == 0
    assert config["evidence"]["speedup"]["low"] > 1
    assert config["evidence"]["cer_increase"]["high"] <= 0.002
    assert (run / "report.html").read_text().startswith("<!")
    rows = (run / "trials.csv").read_text().count("\n") - 1
    assert rows == len(list((run / "trials").glob("*/result.json")))
    assert (run / "study.db").stat().st_size > 0


def test_the_config_can_be_measured_again(run: Path, pages: Path) -> None:
    done = tune("bench", "--config", run / "best.yaml", "--data", pages, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {
        "engine", "device", "settings", "machine", "pages", "pages_per_second", "latency_ms", "cer", "wer",
        "per_set", "stage_ms", "counters", "cold_start_s", "cautions",
    } <= set(document)  # fmt: skip
    assert document["latency_ms"]["p99"] is None
    assert document["cer"]["value"] == 0


def test_a_setting_that_cannot_act_on_the_pages_is_a_caution(pages: Path) -> None:
    done = tune("bench", *ENGINE, "--set", "page_ms=5", "--set", "jpeg_side=960", "--data", pages, "--json")
    (caution,) = [c for c in json.loads(done.stdout)["cautions"] if c.startswith("idle_setting")]
    assert caution.endswith("jpeg_side: no JPEG page is large enough.")


def test_a_text_layer_is_not_scored_against_itself(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf_bytes(["Hello"]))
    done = tune("bench", *ENGINE, "--set", "use_text_layer=true", "--data", tmp_path / "page.pdf")
    assert done.returncode == 2
    assert "with itself: leave it out" in done.stderr


def test_bench_finds_the_highest_rate_within_a_bound(pages: Path) -> None:
    done = tune(
        "bench", *ENGINE, "--set", "page_ms=20", "--data", pages, "--json",
        "--scenario", "server", "--max-p99-ms", "60000", "--requests", "6",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["pages"] == 6
    assert document["scenario"]["traffic"] == "server"
    assert 0 < document["scenario"]["rate"] == document["scenario"]["capacity"] <= 50
    assert document["scenario"]["tried"] == [
        {"rate": document["scenario"]["rate"], "requests": 6, "late": 0, "met": True}
    ]


def test_the_cer_of_bench_is_jiwers_to_the_last_digit(tmp_path: Path, pages: Path) -> None:
    done = tune(
        "bench", *ENGINE, "--set", "garbled_pct=7", "--set", "page_ms=5", "--data", pages,
        "--profile", "strict", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "pages.jsonl").read_text().splitlines()]
    texts = [" ".join(line["text"].split()) for line in lines]
    truth = [" ".join((pages / f"{line['id'].split('/')[1]}.txt").read_text().split()) for line in lines]
    assert json.loads(done.stdout)["cer"]["value"] == jiwer.cer(truth, texts)
    assert json.loads(done.stdout)["wer"] == jiwer.wer(truth, texts)
    assert sum(sum(line["edits"].values()) for line in lines) == sum(
        out.substitutions + out.deletions + out.insertions for out in [jiwer.process_characters(truth, texts)]
    )


def test_a_comparison_prints_its_verdict(pages: Path) -> None:
    done = tune("compare", "scripted", "scripted:page_ms=10", "--data", pages, "--budget", "1m")
    assert done.returncode == 0, done.stderr
    assert re.search(r"B is FASTER: \d\.\d+ \(95 % interval", done.stdout)
    assert "+0.00 points" in done.stdout


def test_a_variant_may_be_longer_than_a_file_name(pages: Path) -> None:
    done = tune("compare", "scripted", "scripted:" + "page_ms=1," * 30 + "page_ms=x", "--data", pages)
    assert done.returncode == 2
    assert "page_ms" in done.stderr


def test_reports_of_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    done = tune("report", run, run, "-o", tmp_path / "both.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "both.html").stat().st_size > (run / "report.html").stat().st_size / 2


def test_what_bench_leaves_in_a_run_does_not_hide_its_report(run: Path, pages: Path) -> None:
    done = tune("bench", "--config", run / "best.yaml", "--data", pages, "--out", run)
    assert done.returncode == 0, done.stderr
    done = tune("report", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(run / "report.html")


@pytest.mark.parametrize("target", ["env", "json"])
def test_a_config_is_exported(run: Path, target: str) -> None:
    done = tune("export", run / "best.yaml", "--to", target)
    assert done.returncode == 0, done.stderr
    assert "scripted" in done.stdout


def test_the_doctor_says_of_each_knob_what_it_changed(pages: Path) -> None:
    done = tune("doctor", "--knobs", *ENGINE, "--data", pages, "--budget", "1s", "--json")
    assert done.returncode == 0, done.stderr
    knobs = {knob["knob"]: knob for knob in json.loads(done.stdout)["knobs"]}
    assert knobs["boost"]["verdict"] == "not tested"
    assert re.search("budget ended|takes about", knobs["boost"]["reason"])
    assert set(knobs) >= {"replicas", "page_ms", "garbled_pct"}
    spoken = tune("doctor", "--knobs", *ENGINE, "--data", pages, "--budget", "1s")
    assert "not tested: " in spoken.stdout


def test_the_doctor_says_how_often_the_gate_errs_and_how_sure_that_is(pages: Path) -> None:
    done = tune("doctor", "--self-test", *ENGINE, "--data", pages, "--budget", "1s", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [canary["slowdown_pct"] for canary in found["comparisons"]] == [0, 5]
    assert found["unchanged"]["comparisons"] == found["slowed"]["comparisons"] == 1
    spoken = tune("doctor", "--self-test", *ENGINE, "--data", pages, "--budget", "1s")
    assert re.search(r"^unchanged: 0 of 1 \(0 to 98 %\) called a regression$", spoken.stdout, re.MULTILINE)


def test_engines_data_and_doctor_answer_in_json() -> None:
    for command, key in (("engines", "engines"), ("data", "data"), ("doctor", "machine")):
        done = tune(command, "--json")
        assert done.returncode == 0, done.stderr
        assert key in json.loads(done.stdout)
    listed = tune("engines", "scripted")
    assert "garbled_pct" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "scriptd"], "unknown engine 'scriptd': did you mean 'scripted'"),
        (["--device", "cuda:7"], "cuda:7"),
        (["--data", "generatd"], "did you mean 'generated'"),
        (["--data", "/no/such/folder"], "does not exist"),
        (["--budget", "5s"], "too short"),
        (["--budget", "soon"], "write 90s, 10m, 2h"),
        (["--max-cer-increase", "-1"], "cannot be negative"),
        (["--resume"], "--out"),
        (["--max-p95-ms", "0"], "--max-p95-ms is a bound above 0"),
        (["--device", "cpu", "--max-gpu-memory-mib", "900"], "cannot be checked on cpu"),
        (["--bugdet", "5m"], "budget"),
        (["--objective", "sped"], "objective"),
        (["bnech"], "did you mean 'bench'"),
        (["bench", "--engine", "scripted", "--set", "page_ns=5"], "did you mean 'page_ms'"),
        (["bench", "--engine", "scripted", "--set", "page_ms=fast"], "page_ms=fast is not possible"),
        (["doctor", "--engine", "scripted"], "need --knobs or --self-test"),
        (["doctor", "--knobs", "--self-test"], "give one of them"),
        (["doctor", "--knobs", "--engine", "scriptd"], "did you mean 'scripted'"),
        (["bench", "--scenario", "server"], "--max-p99-ms 2000"),
        (["bench", "--scenario", "single", "--rate", "2"], "belong to --scenario server"),
        (["--objective", "server"], "needs --rate"),
        (["--objective", "latency", "--price-per-hour", "2"], "belongs to --objective cost"),
        (["bench", "--config", "none.yaml"], "cannot read the config none.yaml"),
        (["compare", "scripted"], "compare"),
        (["report"], "give the folder of at least one run"),
        (["report", "nowhere"], "is not a run folder"),
        (["export", "none.yaml", "--to", "toml"], "unknown format"),
        (["data", "check"], "say which data set"),
        (["data", "fetch", "sroei"], "did you mean 'sroie'"),
        (["engines", "--fetch", "ppcr"], "did you mean 'ppocr'"),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = tune(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not done.stdout
    assert not list(tmp_path.iterdir())


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = tune("bench", *ENGINE, "--data", tmp_path / "empty")
    assert done.returncode == 2
    assert "empty" in done.stderr


def test_unreadable_pages_are_left_out_with_the_reason_and_the_others_are_read(tmp_path: Path) -> None:
    good = write_page(tmp_path / "set", "good", "some text on a page")
    (tmp_path / "set" / "cut.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "set" / "cut.txt").write_text("lost")
    (tmp_path / "set" / "nothing.png").write_bytes(b"")
    (tmp_path / "set" / "prose.png").write_text("I am no picture")
    write_page(tmp_path / "set", "untold", "no truth beside it")
    (tmp_path / "set" / "untold.txt").unlink()
    done = tune("bench", *ENGINE, "--data", tmp_path / "set", "--set", "page_ms=5", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    left_out = re.findall(r"left out (\w+):", done.stderr)
    assert {"nothing", "prose", "untold"} <= set(left_out)
    assert [page["id"] for page in document["failed_pages"]] == ["set/cut"]
    assert document["pages"] == 2


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(run: Path, pages: Path) -> None:
    before = (run / "best.yaml").read_bytes()
    done = tune(*ENGINE, "--budget", "30s", "--data", pages, "--out", run)
    assert done.returncode == 2
    assert "already holds a run" in done.stderr
    assert (run / "best.yaml").read_bytes() == before


def test_a_run_is_not_resumed_on_other_pages(run: Path, tmp_path: Path) -> None:
    page_set(tmp_path / "others", 3)
    done = tune(*ENGINE, "--budget", "30s", "--data", tmp_path / "others", "--out", run, "--resume")
    assert done.returncode == 2
    assert "begun on other pages" in done.stderr


def begin(out: Path, pages: Path, trials: int, budget: str = "60s") -> subprocess.Popen[bytes]:
    """A run of which that many trials are finished."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from harness.cli.app import main; main()", *ENGINE, "--budget", budget,
         "--data", str(pages), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(PLUGIN)},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(list(out.glob("trials/*/result.json"))) < trials and time.monotonic() < until:
        time.sleep(0.05)
    return process


def test_a_run_begins_with_what_an_earlier_one_beside_it_has_proven(run: Path, pages: Path) -> None:
    out = run.parent / "second"
    process = begin(out, pages, trials=2)
    process.kill()
    process.wait()
    (first,) = out.glob("trials/0001-*/result.json")
    proven = yaml.safe_load((run / "best.yaml").read_text())["settings"]
    assert json.loads(first.read_text())["variant"]["settings"] == proven


def test_after_kill_9_a_run_goes_on_and_no_finished_trial_is_lost(tmp_path: Path, pages: Path) -> None:
    out = tmp_path / "out"
    process = begin(out, pages, trials=3)
    process.kill()
    process.wait()
    kept = {path: path.read_bytes() for path in out.glob("trials/*/result.json")}
    assert len(kept) >= 3
    study = json.loads((out / "study.json").read_text())
    doubt = Caution.THROTTLED.sentence
    (out / "study.json").write_text(json.dumps({**study, "cautions": [*study["cautions"], doubt]}))
    done = tune(*ENGINE, "--budget", "45s", "--data", pages, "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert doubt in json.loads((out / "study.json").read_text())["cautions"]
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert (out / "best.yaml").is_file()


def test_sigterm_leaves_the_best_so_far_and_a_report(tmp_path: Path, pages: Path) -> None:
    out = tmp_path / "out"
    process = begin(out, pages, trials=3, budget="10m")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, 1)
    assert "Interrupted: The run was stopped" in (out / "report.html").read_text()


def test_sigterm_is_not_lost_on_an_object_that_is_being_finalized() -> None:
    script = """
import signal, time
from harness.cli import app

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

def command(arguments):
    try:
        Finalized()
        time.sleep(30)
    except KeyboardInterrupt:
        return app.INTERRUPTED
    return 0

app.run = command
app.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, b"")
