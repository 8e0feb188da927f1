"""Which settings of decoding can act on given pages, and which would be scored by their own answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.interface import Machine, Setting, Settings
from harness import pipeline
from harness.acting import TEXT_LAYER, Traits, idle_knobs, idle_settings, refuse_copying, searched, untriable
from harness.data import PageRef
from harness.errors import UserError
from harness.experiments import Experiment
from harness.search.proposals import Proposals
from harness.session import Session
from harness.space import Space
from harness.values import Variant
from tests.harness.data.conftest import pdf_bytes

MACHINE = Machine("test", cores=4, memory_mib=8192)
SPACE = Space("test", "cpu", pipeline.knobs(MACHINE))
EVERYTHING = Traits(longest_jpeg=65_535, pdf=True, colour=True)


def page(path: Path, text: str | None = None) -> PageRef:
    kind = "pdf" if path.suffix == ".pdf" else "image"
    return PageRef(path.name, "set", "doc", str(path), 0, kind, text, "strict", "")  # type: ignore[arg-type]


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., PageRef]:
    def make(name: str, width: int = 60, height: int = 40, mode: str = "RGB") -> PageRef:
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).convert(mode).save(tmp_path / name)
        return page(tmp_path / name)

    return make


@pytest.fixture
def document(tmp_path: Path) -> Callable[[str, str | None], PageRef]:
    def make(layer: str, text: str | None) -> PageRef:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.pdf"
        path.write_bytes(pdf_bytes([layer]))
        return page(path, text)

    return make


def test_traits_are_those_of_the_files_headers(
    tmp_path: Path, image: Callable[..., PageRef], document: Callable[[str, str | None], PageRef]
) -> None:
    assert Traits.of([image("a.png", mode="L"), image("b.tif", mode="1")]) == Traits()
    assert Traits.of([image("c.png")]) == Traits(colour=True)
    assert Traits.of([image("d.jpg", 30, 90, "L"), image("e.jpg", 20, 20, "L")]) == Traits(longest_jpeg=90)
    assert Traits.of([document("Hello", None)]) == Traits(pdf=True, colour=True)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert Traits.of([page(tmp_path / "broken.jpg"), page(tmp_path / "missing.jpg")]) == Traits()


@pytest.mark.parametrize(
    ("traits", "idle"),
    [
        (EVERYTHING, set()),
        (Traits(), {"jpeg_side", "pdf_side", "grey", TEXT_LAYER}),
        (Traits(longest_jpeg=1279), {"jpeg_side", "pdf_side", "grey", TEXT_LAYER}),
        (Traits(longest_jpeg=1280), {"pdf_side", "grey", TEXT_LAYER}),
        (Traits(pdf=True, colour=True), {"jpeg_side"}),
    ],
)
def test_knobs_without_a_page_to_act_on_are_idle_for_a_reason(traits: Traits, idle: set[str]) -> None:
    found = idle_knobs(SPACE, traits)
    assert set(found) == idle
    assert all(len(reason.split()) > 3 for reason in found.values())


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({}, []),
        ({"jpeg_side": 1000}, []),
        ({"jpeg_side": 1001}, ["jpeg_side"]),
        ({"pdf_side": 1}, ["pdf_side"]),
    ],
)
def test_settings_that_were_made_for_nothing_are_named(settings: Settings, idle: list[str]) -> None:
    complete = SPACE.variant(settings).settings
    assert list(idle_settings(complete, SPACE, Traits(longest_jpeg=2000, colour=True))) == idle


@pytest.mark.parametrize("search", [None, {TEXT_LAYER: [False, True], "prefetch": [0, 1, 2, 4, 8]}])
def test_the_text_layer_is_never_searched(tmp_path: Path, search: dict[str, list[Setting]] | None) -> None:
    told = searched(Experiment(search=search), SPACE, EVERYTHING)
    proposals = Proposals(SPACE, told, f"sqlite:///{tmp_path}/study.db", "study", seed=0)
    asked = [proposals.ask(None) for _ in range(20)]
    assert {proposal.variant.settings[TEXT_LAYER] for proposal in asked if proposal} == {False}


def test_values_that_cannot_act_are_not_searched() -> None:
    told = searched(Experiment(), SPACE, Traits(longest_jpeg=2600)).search
    assert told is not None
    assert told["jpeg_side"] == [0, 640, 960, 1280]
    assert told["pdf_side"] == [0]
    assert told["grey"] == [False]
    assert told["prefetch"] == [0, 1, 2, 4, 8]
    named = searched(Experiment(search={"jpeg_side": [2000], "prefetch": [2]}), SPACE, Traits()).search
    assert named == {"jpeg_side": [0], "prefetch": [2]}


def test_an_answer_that_is_the_ground_truth_is_refused(
    document: Callable[[str, str | None], PageRef],
) -> None:
    layer = "the lazy brown dog"
    same = document(layer, "brown dog\nthe lazy")
    other = document(layer, "what a human being has read on a page of which the layer is bad")
    on = {TEXT_LAYER: True}
    refuse_copying(on, [other, document(layer, None), document("", "nothing but pixels")])
    refuse_copying({TEXT_LAYER: False}, [same])
    refuse_copying({}, [same])
    with pytest.raises(
        UserError, match=r"use_text_layer=true would compare the text layer of .*\.pdf with itself"
    ):
        refuse_copying(on, [other, same])
    assert TEXT_LAYER in untriable(SPACE, [same])
    assert TEXT_LAYER not in untriable(SPACE, [other])


def test_no_session_begins_with_such_an_answer(
    tmp_path: Path, document: Callable[[str, str | None], PageRef]
) -> None:
    pages = [document("the whole truth", "the whole truth")]
    variant = Variant("scripted", "cpu", {TEXT_LAYER: True})
    with pytest.raises(UserError, match="with itself"):
        Session(variant, pages, tmp_path / "trial", MACHINE)
    Session(variant, [replace(page, text=None) for page in pages], tmp_path / "trial", MACHINE)
