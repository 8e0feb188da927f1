"""The worked example of docs/adding-an-engine.md, taken from the text and run as a third-party package."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.engines.support import ROOT

TEXT = (ROOT / "docs" / "adding-an-engine.md").read_text(encoding="utf-8")
(MODULE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PACKAGING, CONFIGURATION = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the example as the document says to package it."""
    (entries,) = tomllib.loads(PACKAGING)["project"]["entry-points"].items()
    group, points = entries
    info = tmp_path / "example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {module}" for name, module in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "tesseract_cli.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def test_the_example_has_less_than_60_lines() -> None:
    assert len([line for line in MODULE.splitlines() if line.strip()]) < 60


def test_the_example_passes_the_suite_that_every_engine_must_pass(site: Path) -> None:
    if shutil.which("tesseract") is None and not os.environ.get("CI"):
        pytest.skip("the program tesseract is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    suite = str(ROOT / "tests" / "engines" / "test_conformance.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        suite,
        "-k",
        "tesseract_cli",
        "-p",
        "no:cacheprovider",
        "-rs",
    ]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20
    assert "skipped" not in done.stdout
    assert "failed" not in done.stdout


def test_the_configuration_in_the_document_is_read_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import environments

    (tmp_path / "ocr-tune.toml").write_text(CONFIGURATION)
    monkeypatch.chdir(tmp_path)
    environments.user_config.cache_clear()
    assert environments.interpreter("paddleocr") == Path("/home/me/venvs/paddle/bin/python")
    environments.user_config.cache_clear()
