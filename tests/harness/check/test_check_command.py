"""`tune check` in processes of its own, with an engine that is as slow and as wrong as it is told."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.check.builds import build
from harness.errors import UserError
from tests.harness.conftest import PLUGIN
from tests.pages import page_set

BACKEND = """
import base64, hashlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "tested_ocr-1.0-py3-none-any.whl"
    facts = "tested_ocr-1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.write("tested_ocr.py")
        wheel.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\\nName: tested-ocr\\nVersion: 1.0\\n")
        wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{facts}/RECORD", "")
    return name
"""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parents[3]), str(PLUGIN)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **more}


def check(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from harness.cli.app import main; main()", "check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(**more),
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
        *("--baseline", config, "--config", worse, "--data", tmp_path / "pages", "--budget", "15s"),
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
    done = check("--baseline", config, "--config", broken, "--data", tmp_path / "pages")
    assert done.returncode == 1, done.stderr
    assert "SIGSEGV" in done.stdout


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


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A package with two revisions; the first is tagged."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "tested_ocr.py").write_text("answer = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v1")
    (folder / "tested_ocr.py").write_text("answer = 2\n")
    git(folder, "commit", "-qam", "two")
    return folder


def test_a_git_revision_is_installed_beside_this_build_and_kept(repository: Path, tmp_path: Path) -> None:
    built = build("v1", folder=repository, cache=tmp_path / "cache")
    assert built.interpreter
    asked = subprocess.run(
        [
            built.interpreter,
            "-P",
            "-c",
            "import tested_ocr, numpy; print(tested_ocr.answer, numpy.__version__)",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert asked.stdout.split() == ["1", version("numpy")]
    assert build("v1", folder=repository, cache=tmp_path / "cache") == built
    assert build("HEAD", folder=repository, cache=tmp_path / "cache").interpreter != built.interpreter


@pytest.mark.parametrize("against", ["nonesuch", "--upload-pack=x", "v1;touch x"])
def test_a_build_that_does_not_exist_is_refused(repository: Path, tmp_path: Path, against: str) -> None:
    with pytest.raises(UserError, match="--against"):
        build(against, folder=repository, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
