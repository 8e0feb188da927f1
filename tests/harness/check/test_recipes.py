"""The nightly recipes of the README, run line by line in a scratch repository as their services would."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.weights import cache_dir
from tests.harness.check.packaging import git, wheel
from tests.harness.conftest import PLUGIN
from tests.pages import page_set

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCE = (PLUGIN / "scripted_engine.py").read_text()
ENTRY = (PLUGIN / "scripted_engine-1.0.dist-info" / "entry_points.txt").read_text()
MISREADS = 'every = int(self._settings["garbled_pct"])'
SHORT = "--budget 60s --max-slowdown 0.6"
"""Instead of the recipes' own budget: on a busy machine too, a few rounds show that the speed is no worse."""


def block(heading: str, language: str = "") -> str:
    """The first fenced block of the README after `heading`."""
    found = re.search(rf"{re.escape(heading)}.*?\n```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block after {heading!r}"
    return found.group(1)


def github() -> list[str]:
    """The `run` lines of the workflow."""
    (job,) = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab() -> dict[str, Any]:
    """The one job of the pipeline."""
    (job,) = yaml.safe_load(block("GitLab, with a schedule", "yaml")).values()
    assert isinstance(job, dict)
    return job


def cron() -> str:
    """The command of the crontab line, after its five fields of time."""
    return block("Cron, on a machine").split(maxsplit=5)[5]


@dataclass(frozen=True, slots=True)
class Night:
    """A machine with this checkout's `tune`, pip, an index of wheels, and a repository with a pinned config."""

    root: Path

    def publish(self, version: str, *, misreads: bool) -> None:
        """A version of the engine in the index, for pip to install tonight."""
        source = SOURCE.replace(MISREADS, f"every = {10 if misreads else 0}")
        assert source != SOURCE
        wheel(self.root / "index", "scripted-engine", version, {"scripted_engine.py": source}, ENTRY)

    def run(self, lines: list[str], name: str) -> subprocess.CompletedProcess[str]:
        """The lines of a job in a fresh checkout on a fresh runner, as both services run them: up to an error."""
        checkout, installed = self.root / f"{name}-checkout", self.root / f"{name}-installed"
        git(self.root, "clone", "-q", str(self.root / "repository"), str(checkout))
        script = "\n".join(lines).replace("${{ vars.OCR_TUNE }}", "$OCR_TUNE").replace("--budget 5m", SHORT)
        script = script.replace("/srv/ocr", shlex.quote(str(checkout)))
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.root / "bin"), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)]),
            "OCR_TUNE": "scripted-engine",
            "OCR_TUNE_CACHE": str(self.root / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.root / "index"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "RUNNER_INSTALLS": str(installed),
            "COLUMNS": "200",
        }
        environment.pop("GITHUB_STEP_SUMMARY", None)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            cwd=checkout,
            env=environment,
            timeout=300,
            check=False,
        )


@pytest.fixture
def night(tmp_path: Path) -> Night:
    commands = {
        # A runner installs into itself; here that is a folder which the checkout's own packages cannot hide.
        "pip": 'case $1 in install) shift; set -- install --target "$RUNNER_INSTALLS" "$@";; esac; '
        f'exec {shlex.quote(sys.executable)} -m pip "$@"',
        "tune": f'exec {shlex.quote(sys.executable)} -c "from harness.cli.app import main; main()" "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, command in commands.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{command}\n")
        path.chmod(0o755)
    # Weights that are here already need not be fetched; environments of other builds stay in the scratch folder.
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(cache_dir())
    repository = tmp_path / "repository"
    page_set(repository / "scans", 12)
    facts = {"fingerprint": "x", "cpu_model": "x", "cores": 1, "memory_mib": 1}
    pinned = {
        "engine": "scripted",
        "device": "cpu",
        "settings": {"page_ms": 10},
        "machine": {**facts, "versions": {"scripted-engine": "1.0"}},
    }
    (repository / "best.yaml").write_text(json.dumps(pinned))
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "pin the config")
    made = Night(tmp_path)
    made.publish("1.0", misreads=False)
    return made


def test_the_github_workflow_passes_an_unchanged_build_and_fails_a_release_that_misreads(
    night: Night,
) -> None:
    unchanged = night.run(github(), "unchanged")
    assert unchanged.returncode == 0, unchanged.stderr
    assert "PASS" in unchanged.stdout
    night.publish("1.1", misreads=True)
    worse = night.run(github(), "worse")
    assert worse.returncode == 1, worse.stderr
    assert "::error" in worse.stdout
    assert "<failure" in (night.root / "worse-checkout" / "check.xml").read_text()


@pytest.mark.parametrize(("verdict", "is_green"), [(0, True), (1, False), (2, False), (3, True)])
def test_the_github_workflow_is_red_for_all_but_a_pass_and_an_inconclusive_night(
    night: Night, verdict: int, is_green: bool
) -> None:
    (night.root / "bin" / "tune").write_text(f"#!/bin/bash\nexit {verdict}\n")
    assert (night.run(github()[-1:], "any").returncode == 0) is is_green


def test_the_gitlab_job_fails_a_release_that_misreads_and_an_inconclusive_night_does_not(
    night: Night,
) -> None:
    job = gitlab()
    assert job["allow_failure"] == {"exit_codes": [3]}
    night.publish("1.1", misreads=True)
    worse = night.run(job["script"], "worse")
    assert worse.returncode == 1, worse.stderr
    assert "<failure" in (night.root / "worse-checkout" / job["artifacts"]["reports"]["junit"]).read_text()


def test_the_cron_line_is_silent_of_a_pass_but_for_its_verdict_and_keeps_the_night(night: Night) -> None:
    line = cron().replace("--history", f"{SHORT} --history")
    # The machine of one's own has had its engine installed.
    done = night.run([f"pip install $OCR_TUNE >/dev/null; {line}"], "own")
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout
    assert "tune check:" not in done.stdout
    (history,) = (night.root / "own-checkout" / "history").glob("*.jsonl")
    assert json.loads(history.read_text())["outcome"] == "pass"


def test_the_recipes_install_a_python_that_the_package_admits() -> None:
    workflow = yaml.safe_load(block("GitHub Actions", "yaml"))
    (version,) = [
        step["with"]["python-version"]
        for step in workflow["jobs"]["ocr"]["steps"]
        if "python-version" in step.get("with", {})
    ]
    assert tuple(map(int, version.split("."))) >= (3, 11)
    assert gitlab()["image"] == f"python:{version}"
