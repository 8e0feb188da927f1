import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.interface import UnsupportedError
from engines.ppocr import artefacts

RECIPE = {"model": "abc", "method": "int8"}
Build = Callable[[Path], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def built() -> list[Path]:
    """Where something was built, once for each time."""
    return []


@pytest.fixture
def build(built: list[Path]) -> Build:
    def write(folder: Path) -> None:
        built.append(folder)
        (folder / "model.bin").write_bytes(b"weights" * 100_000)

    return write


def test_what_is_there_is_not_built_again(build: Build, built: list[Path]) -> None:
    first = artefacts.obtain(RECIPE, build)
    assert artefacts.obtain(dict(reversed(RECIPE.items())), build) == first
    assert (first / "model.bin").read_bytes() == b"weights" * 100_000
    assert len(built) == 1


def test_another_recipe_is_another_artefact(build: Build, built: list[Path]) -> None:
    assert artefacts.obtain(RECIPE, build) != artefacts.obtain({**RECIPE, "nncf": "4"}, build)
    assert len(built) == 2


@pytest.mark.parametrize("name", ["model.bin", "built.json"])
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"sha256": {}}', b'{"sha256": {"../../x": "0"}}', b"\xff"])
def test_what_was_damaged_is_built_again(build: Build, built: list[Path], name: str, damage: bytes) -> None:
    folder = artefacts.obtain(RECIPE, build)
    (folder / name).write_bytes(damage)
    assert artefacts.obtain(RECIPE, build) == folder
    assert len(built) == 2
    assert (folder / "model.bin").read_bytes() == b"weights" * 100_000


def test_replicas_that_start_together_build_once(build: Build, built: list[Path]) -> None:
    together, twice = threading.Barrier(4), threading.Event()

    def watched(folder: Path) -> None:
        build(folder)
        if len(built) > 1:
            twice.set()
        twice.wait(0.5)  # time for another to begin, if it may

    def start() -> Path:
        together.wait()
        return artefacts.obtain(RECIPE, watched)

    with ThreadPoolExecutor(4) as replicas:
        folders = {future.result() for future in [replicas.submit(start) for _ in range(4)]}
    assert len(folders) == len(built) == 1


def test_a_build_that_fails_leaves_nothing(build: Build, cache: Path) -> None:
    def fail(folder: Path) -> None:
        build(folder)
        raise UnsupportedError("it cannot be done")

    with pytest.raises(UnsupportedError, match="it cannot be done"):
        artefacts.obtain(RECIPE, fail)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_an_artefact_says_what_it_was_built_from_and_how_long_that_took(build: Build) -> None:
    record = json.loads((artefacts.obtain(RECIPE, build) / "built.json").read_text())
    assert record["recipe"] == RECIPE
    assert record["build_s"] >= 0


def test_a_cache_that_cannot_be_written_is_named(build: Build, cache: Path) -> None:
    (cache / "artefacts").write_text("a file where a folder should be")
    with pytest.raises(UnsupportedError, match=r"cannot keep a model in .*artefacts.*set OCR_TUNE_CACHE"):
        artefacts.obtain(RECIPE, build)
