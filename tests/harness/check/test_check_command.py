"""`tune check` in processes of its own, with an engine that is as slow and as wrong as it is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.check.packaging import commit, repository, wheel
from tests.harness.conftest import PLUGIN
from tests.pages import page_set

LENIENT = ("--max-slowdown", "0.6")
"""On a busy machine too, a few rounds show that the speed is no worse than that."""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parents[3]), str(PLUGIN)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **more}


def check(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from harness.cli.app import main; main()", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(**more),
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    page_set(tmp_path / "pages", 12)
    return written(tmp_path / "best.yaml")


def written(path: Path, **settings: int) -> Path:
    path.write_text(
        json.dumps({"engine": "scripted", "device": "cpu", "settings": {"page_ms": 10, **settings}})
    )
    return path


def test_swapped_characters_fail_the_check_and_are_written_everywhere(config: Path, tmp_path: Path) -> None:
    worse = written(tmp_path / "worse.yaml", garbled_pct=1)
    summary = tmp_path / "summary.md"
    done = check(
        *("--baseline", config, "--config", worse, "--data", tmp_path / "pages", "--budget", "60s", *LENIENT),
        *("--history", tmp_path / "history", "--junit", tmp_path / "junit.xml", "--json"),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["metrics"]["cer"]["outcome"] == "regression"
    assert found["metrics"]["cer"]["current"] == pytest.approx(0.01, rel=0.05)
    assert "<failure" in (tmp_path / "junit.xml").read_text()
    assert "regression" in summary.read_text()
    (history,) = (tmp_path / "history").glob("*.jsonl")
    assert json.loads(history.read_text())["outcome"] == "regression"


def test_a_current_side_that_crashes_is_a_regression(config: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("{engine: scripted, device: cpu, settings: {fault: segfault}}")
    history = tmp_path / "history"
    done = check("--baseline", config, "--config", broken, "--data", tmp_path / "pages", "--history", history)
    assert done.returncode == 1, done.stderr
    assert "SIGSEGV" in done.stdout
    (nights,) = history.glob("*.jsonl")
    assert "SIGSEGV" in json.loads(nights.read_text())["failure"]


def test_an_output_that_cannot_be_written_is_said_before_anything_is_measured(
    config: Path, tmp_path: Path
) -> None:
    arguments = ("--baseline", config, "--data", tmp_path / "pages", "--history", tmp_path / "history")
    done = check(*arguments, "--junit", tmp_path / "absent" / "check.xml")
    assert done.returncode == 2
    assert "its folder does not exist" in done.stderr
    assert not (tmp_path / "history").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{engine: scripted", "is not YAML"),
        ("{engine: nonesuch, device: cpu, settings: {}}", "unknown engine"),
        ("{engine: scripted, device: cpu, settings: {fault: segfault}}", "cannot be measured"),
    ],
)
def test_a_wrong_baseline_is_bad_input(config: Path, tmp_path: Path, text: str, words: str) -> None:
    config.write_text(text)
    done = check("--baseline", config, "--data", tmp_path / "pages")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("option", "share"),
    [("--max-slowdown", "1.5"), ("--max-wer-increase", "-0.1"), ("--max-memory-increase", "nan")],
)
def test_a_limit_that_is_no_share_is_refused_by_name(config: Path, option: str, share: str) -> None:
    done = check("--baseline", config, option, share)
    assert done.returncode == 2
    assert f"{option} is a share" in " ".join(done.stderr.split())


def test_a_limit_lets_pass_what_would_be_a_regression(config: Path, tmp_path: Path) -> None:
    worse = written(tmp_path / "worse.yaml", garbled_pct=1)
    done = check(
        *("--baseline", config, "--config", worse, "--data", tmp_path / "pages", "--budget", "60s", *LENIENT),
        *("--max-cer-increase", "0.02", "--max-wer-increase", "0.5", "--json"),
        *("--max-memory-increase", "1", "--max-cold-start-increase", "2"),
    )
    assert done.returncode == 0, done.stdout
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["cer"]["tolerance"] == 0.02
    assert metrics["peak_memory"]["tolerance"] == 1


SOURCE = (PLUGIN / "scripted_engine.py").read_text()
ENTRY = (PLUGIN / "scripted_engine-1.0.dist-info" / "entry_points.txt").read_text()
FAULTY = 'every = int(self._settings["garbled_pct"])'
"""What makes the engine misread, by its settings; an earlier version of it read without fault."""


def faultless_wheel(folder: Path) -> Path:
    assert FAULTY in SOURCE
    files = {"scripted_engine.py": SOURCE.replace(FAULTY, "every = 0")}
    return wheel(folder, "scripted-engine", "0.9", files, ENTRY)


@pytest.mark.parametrize("how", ["package", "recorded"])
def test_a_build_that_reads_worse_than_the_version_before_fails(
    config: Path, tmp_path: Path, how: str
) -> None:
    written(config, garbled_pct=10)
    faultless = faultless_wheel(tmp_path / "wheels")
    against: tuple[str, ...] = ("--against", "scripted-engine==0.9")
    if how == "recorded":
        pinned = json.loads(config.read_text())
        facts = {
            "fingerprint": "x",
            "cpu_model": "x",
            "cores": 1,
            "memory_mib": 1,
            "versions": {"scripted-engine": "0.9"},
        }
        config.write_text(json.dumps({**pinned, "machine": facts}))
        against = ()
    done = check(
        *("--baseline", config, "--data", tmp_path / "pages", "--budget", "60s", "--json"),
        *(*LENIENT, *against),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(faultless.parent),
        OCR_TUNE_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert "scripted-engine==0.9" in found["baseline"]
    assert found["metrics"]["cer"]["outcome"] == "regression"
    assert found["metrics"]["cer"]["baseline"] == 0
    assert not any("same_sides" in caution for caution in found["cautions"])


def test_a_planted_fault_in_a_repository_fails_beside_its_last_release(config: Path, tmp_path: Path) -> None:
    written(config, garbled_pct=10)
    folder = repository(tmp_path / "repository", "scripted-engine", "scripted_engine", ENTRY)
    commit(folder, "scripted_engine.py", SOURCE.replace(FAULTY, "every = 0"), tag="v1")
    commit(folder, "scripted_engine.py", SOURCE)
    done = check(
        *("--baseline", config, "--against", "v1", "--data", tmp_path / "pages", "--budget", "60s", *LENIENT),
        cwd=folder,
        OCR_TUNE_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 1, done.stderr
    assert "regression" in next(line for line in done.stdout.splitlines() if "cer: 0 ->" in line)
