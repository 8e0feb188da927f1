"""A whole run among faults: nothing that was measured is lost, and every failure is on record."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from harness.experiments import Experiment
from harness.outcome import tuned_config
from harness.store import RunFolder
from harness.values import Failure, FailureKind
from tests.harness.conftest import PLUGIN
from tests.harness.search.test_tuner import task, tuner
from tests.harness.test_session import servers
from tests.pages import page_set

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
KILLS = 20

EXPECTED = {
    "segfault": FailureKind.CRASH,
    "killed": FailureKind.OOM,
    "hang": FailureKind.TIMEOUT,
    "raise_on_open": FailureKind.CRASH,
    "raise_on_read": FailureKind.CRASH,
    "unsupported": FailureKind.UNSUPPORTED,
    "one_text_too_few": FailureKind.INVALID_OUTPUT,
    "wrong_type": FailureKind.INVALID_OUTPUT,
    "always_out_of_memory": FailureKind.OOM,
}
READ_WRONGLY = ("other_pages", "empty")
HARMLESS = ("grandchild", "server", "chatter")


TUNE = (sys.executable, "-c", "from harness.cli.app import main; main()")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PLUGIN)}


def test_a_run_survives_every_fault_and_says_what_each_was(scripted: str, tmp_path: Path) -> None:
    before = {*servers()}  # a run that is killed while one stands leaves it behind
    faults = (*EXPECTED, *READ_WRONGLY, *HARMLESS)
    search = Experiment(
        search={"page_ms": [20], "fault": ["none"], "replicas": [1]},
        start=[{"fault": fault, "page_ms": 10} for fault in faults],
    )
    study = tuner(tmp_path, task(tmp_path, search, budget_s=120.0)).run()
    by_fault = {t.variant.settings["fault"]: t for t in study.trials if t.phase == "search"}
    outcomes = {fault: trial.outcome for fault, trial in by_fault.items()}
    kinds = {fault: found.kind for fault, found in outcomes.items() if isinstance(found, Failure)}
    assert kinds == EXPECTED
    assert all(outcomes[fault].message for fault in EXPECTED)  # type: ignore[union-attr]
    assert study.best is not None
    assert study.best.settings["fault"] in ("none", *HARMLESS)
    assert not {c.b.settings["fault"] for c in study.comparisons} & set(READ_WRONGLY)
    assert RunFolder(tmp_path / "run").study().trials == study.trials
    assert tuned_config(study) is not None
    assert not {*servers()} - before
    assert not psutil.Process().children()


def test_a_run_that_is_killed_twenty_times_loses_nothing(tmp_path: Path) -> None:
    page_set(tmp_path / "pages", 12)
    draw = random.Random(0)
    data, out = str(tmp_path / "pages"), str(tmp_path / "run")
    run = [*TUNE, "--engine", "scripted", "--data", data, "--out", out]
    folder = RunFolder(tmp_path / "run")
    kept: dict[str, str] = {}
    for _ in range(KILLS):
        resume = ["--resume"] if folder.study_json.exists() else []
        process = subprocess.Popen(
            [*run, "--budget", "60s", *resume],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(0.8, 4.0))
        process.kill()
        process.wait()
        now = {path.parent.name: path.read_text() for path in folder.root.glob("trials/*/result.json")}
        assert kept.items() <= now.items()
        kept = now
    assert kept
    done = subprocess.run(
        [*run, "--budget", "90s", "--resume"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    study = folder.study()
    assert [trial.number for trial in study.trials] == sorted({trial.number for trial in study.trials})
    assert {path.parent.name for path in folder.root.glob("trials/*/result.json")} >= kept.keys()
    assert yaml.safe_load(folder.best_yaml.read_text())["evidence"]["speedup"]["low"] > 1


@pytest.fixture
def small_machine() -> Iterator[Path]:
    """A control group with 600 MiB. Whoever writes its number into `cgroup.procs` is in it."""
    group = MEMORY_GROUPS / f"ocr-tune-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(600 << 20))
    except OSError as error:
        shutil.rmtree(group, ignore_errors=True)
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield group
    group.rmdir()


def test_an_engine_that_leaks_until_the_kernel_ends_it_does_not_take_the_run_along(
    tmp_path: Path, small_machine: Path
) -> None:
    page_set(tmp_path / "pages", 8)
    enter = f'echo $$ > {small_machine / "cgroup.procs"} && exec "$@"'
    bench = ["bench", "--engine", "scripted", "--set", "fault=leaks", "--data", str(tmp_path / "pages")]
    done = subprocess.run(
        ["sh", "-c", enter, "sh", *TUNE, *bench],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "SIGKILL, as the kernel does when memory runs out" in done.stderr
