"""Which pages an engine may build models from, and what becomes of the settings that name them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from engines import registry
from engines.interface import Page, Settings
from harness.errors import UserError
from harness.experiments import Experiment
from harness.machine import detect
from harness.search import calibration, plan
from harness.search.calibration import calibrated
from harness.search.proposals import Proposals
from harness.space import Space
from tests.pages import page_set

MACHINE = detect()


class Calibrating:
    """What the scripted engine is given in a test: `calibrate`, which remembers its pages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.seen: list[str] = []
        self._settings = settings
        monkeypatch.setattr(registry.load("scripted"), "calibrate", self, raising=False)

    def __call__(self, pages: Iterable[Page]) -> Settings:
        self.seen = [page.id for page in pages]
        return self._settings


def test_pages_of_the_proof_are_never_shown(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Calibrating(monkeypatch, {})
    pages, references = page_set(tmp_path, 24)
    split = plan.split_pages(references)
    calibrated(Space.of("scripted", "cpu", MACHINE), pages, split)
    assert len(engine.seen) == calibration.MAX_PAGES
    assert engine.seen == [references[index].page_id for index in split.search[: calibration.MAX_PAGES]]
    assert not set(engine.seen) & {references[index].page_id for index in split.confirm}


@pytest.mark.parametrize("search", [None, {"garbled_pct": [0, 1]}])
def test_every_variant_of_the_search_has_the_settings_that_name_the_pages(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: dict[str, list[int]] | None
) -> None:
    Calibrating(monkeypatch, {"page_ms": 7})
    pages, references = page_set(tmp_path, 4)
    space = calibrated(Space.of("scripted", "cpu", MACHINE), pages, plan.split_pages(references))
    experiment = Experiment.model_validate({"search": search, "start": [{"garbled_pct": 10}]})
    proposals = Proposals(space, experiment, "sqlite://", "test", seed=0)
    variants = [space.variant({})]
    for _ in range(2):
        proposal = proposals.ask(variants[-1])
        assert proposal is not None
        variants.append(proposal.variant)
    assert [variant.settings["page_ms"] for variant in variants] == [7, 7, 7]


def test_an_engine_that_calibrates_nothing_is_shown_nothing(scripted: str, tmp_path: Path) -> None:
    pages, references = page_set(tmp_path, 4)
    missing = [replace(page, path=str(tmp_path / "gone.png")) for page in pages]
    space = Space.of("scripted", "cpu", MACHINE)
    assert calibrated(space, missing, plan.split_pages(references)) == space


def test_a_page_that_cannot_be_read_is_left_out(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Calibrating(monkeypatch, {})
    pages, references = page_set(tmp_path, 6)
    split = plan.split_pages(references)
    broken = pages[split.search[0]]
    Path(broken.path).write_bytes(b"no image")
    calibrated(Space.of("scripted", "cpu", MACHINE), pages, split)
    assert engine.seen == [references[index].page_id for index in split.search[1:]]


def test_a_cache_that_cannot_be_written_is_said_plainly(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(pages: Iterable[Page]) -> Settings:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry.load("scripted"), "calibrate", full, raising=False)
    pages, references = page_set(tmp_path, 4)
    with pytest.raises(UserError, match=r"No space left on device.*set OCR_TUNE_CACHE"):
        calibrated(Space.of("scripted", "cpu", MACHINE), pages, plan.split_pages(references))
