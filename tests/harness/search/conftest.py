from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache: what one test measures of this machine must not steer another."""
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
