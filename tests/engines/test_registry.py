"""How engines are found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines import registry
from tests.engines.support import ROOT

LIST = """
import json, sys
from engines import registry
names = registry.names()
quiet = "fake_engine" not in sys.modules
print(json.dumps([names, quiet, registry.load("fake").summary(), registry.load("tesseract").__name__]))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one installed distribution, which brings two engines."""
    info = tmp_path / "fake_ocr-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-ocr\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ocr_tune.engines]\nfake = fake_engine\ntesseract = fake_engine\n"
    )
    (tmp_path / "fake_engine.py").write_text("def summary() -> str:\n    return 'Reads nothing.'\n")
    return tmp_path


def test_an_engine_of_another_distribution_is_found_and_loaded_when_asked_for(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    answer = subprocess.run([sys.executable, "-c", LIST], env=environment, capture_output=True, check=True)
    names, quiet, summary, tesseract = json.loads(answer.stdout)
    assert {"fake", "rapidocr", "tesseract", "faster_paddle"} <= set(names)
    assert names == sorted(names)
    assert quiet
    assert summary == "Reads nothing."
    assert tesseract == "engines.tesseract"  # a name of ours is not taken over


def test_the_modules_that_engines_share_are_no_engines() -> None:
    assert not {"interface", "mindee", "pytorch", "registry", "weights"} & set(registry.names())


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(registry.UnknownEngineError, match="nonsuch"):
        registry.load("nonsuch")
