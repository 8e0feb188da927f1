"""The scripted engine, installed for one test at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import registry

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an engine that comes from a third-party package and fails as it is told."""
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    registry.modules.cache_clear()
    yield "scripted"
    registry.modules.cache_clear()
