"""What every engine must do, whoever wrote it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines import registry
from engines.interface import (
    STAGES,
    Knob,
    Machine,
    Page,
    StageTimer,
    UnsupportedError,
)
from tests.engines.support import MACHINE, ROOT, Opened, words

Knobs = tuple[Knob, ...]
HEAVY = (
    "cv2",
    "torch",
    "onnxruntime",
    "openvino",
    "rapidocr",
    "tesserocr",
    "faster_paddle",
    "paddle",
    "transformers",
    "doctr",
    "easyocr",
    "marker",
    "onnxtr",
    "surya",
)
OURS = [name for name, module in registry.modules().items() if module.startswith("engines.")]
QUESTIONS = """
import json, sys
from engines import registry
from engines.interface import Machine
engine, machine = registry.load(sys.argv[1]), Machine("test", cores=2, memory_mib=8192)
answers = [engine.summary(), engine.packages(), engine.unusable(machine), len(engine.knobs(machine))]
print(json.dumps({"answers": answers, "modules": sorted(sys.modules)}))
"""


@pytest.fixture
def knobs(engine_name: str) -> Knobs:
    return registry.load(engine_name).knobs(MACHINE)


def test_questions_about_an_engine_import_nothing_heavy(engine_name: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", QUESTIONS, engine_name]
    answer = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert not set(HEAVY) & set(answer["modules"])
    summary, packages, _, _ = answer["answers"]
    assert len(summary.split()) >= 4
    assert packages


@pytest.mark.parametrize("name", OURS)
def test_without_its_packages_an_engine_still_answers_and_says_what_to_install(
    name: str, tmp_path: Path
) -> None:
    site = Path(np.__file__).parents[1]
    for kept in ("numpy", "numpy.libs", "PIL", "pillow.libs"):
        if (site / kept).exists():
            (tmp_path / kept).symlink_to(site / kept)
    start = f"import sys; sys.path += [{str(ROOT)!r}, {str(tmp_path)!r}]\n"
    command = [sys.executable, "-I", "-S", "-c", start + QUESTIONS, name]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert "install" in answer["answers"][2]


def test_knob_names_are_unique_words(knobs: Knobs) -> None:
    names = [knob.name for knob in knobs]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_defaults_are_admitted(knobs: Knobs) -> None:
    assert [knob.name for knob in knobs if not knob.domain.admits(knob.default)] == []


def test_grids_are_admitted(knobs: Knobs) -> None:
    assert [(k.name, v) for k in knobs for v in k.domain.values if not k.domain.admits(v)] == []


def test_conditions_name_knobs_and_values_that_exist(knobs: Knobs) -> None:
    by_name = {knob.name: knob for knob in knobs}
    for knob in knobs:
        for name, values in knob.when.items():
            assert name != knob.name
            assert values
            assert all(by_name[name].domain.admits(value) for value in values)


def test_every_knob_says_what_it_does(knobs: Knobs) -> None:
    assert [knob.name for knob in knobs if len(knob.help) < 8] == []


def test_every_knob_belongs_to_a_stage(knobs: Knobs) -> None:
    assert {knob.stage for knob in knobs} <= {"pipeline", *STAGES}


def test_thread_knobs_offer_every_core(engine_name: str) -> None:
    few, many = (
        registry.load(engine_name).knobs(Machine("test", cores=cores, memory_mib=8192)) for cores in (1, 12)
    )
    limits = {knob.name: max(knob.domain.values) for knob in many if "threads" in knob.name}
    assert set(limits.values()) <= {12}
    assert all(max(knob.domain.values) == 1 for knob in few if "threads" in knob.name)


def test_big_clear_text_is_read_without_a_mistake(opened: Opened) -> None:
    letter, invoice = (words(text.text) for text in opened.texts)
    assert letter == "The quick brown fox jumps over the lazy dog near the river bank"
    assert invoice == "Invoice number 2024 Total amount 99 dollars"


def test_lines_have_text_boxes_on_the_page_and_a_confidence(opened: Opened) -> None:
    for page, text in zip(opened.pages, opened.texts, strict=True):
        height, width = page.pixels.shape[:2]
        for line in text.lines:
            assert line.text.strip()
            assert "\n" not in line.text
            assert line.confidence is None or 0.5 < line.confidence <= 1
            if line.box:
                (x0, y0), (x1, y1), (x2, y2), (x3, y3) = line.box
                assert 0 <= x0 < x1 <= width
                assert 0 <= y0 < y3 <= height
                assert x3 < x2 <= width
                assert y1 < y2 <= height


def test_stages_are_known_and_account_for_the_time(opened: Opened) -> None:
    assert set(opened.stage_s) <= set(STAGES)
    assert opened.stage_s["recognise"] > 0
    assert sum(opened.stage_s.values()) >= 0.5 * opened.wall_s


def test_reading_twice_gives_the_same(opened: Opened) -> None:
    assert tuple(opened.reader.read(opened.pages)) == opened.texts


def test_pages_read_alone_give_the_same_text(opened: Opened) -> None:
    alone = [opened.reader.read([page]) for page in reversed(opened.pages)]
    assert [len(texts) for texts in alone] == [1, 1]
    assert [texts[0].text for texts in alone] == [text.text for text in reversed(opened.texts)]


def test_no_pages_give_no_texts(opened: Opened) -> None:
    assert list(opened.reader.read([])) == []


@pytest.mark.parametrize("shade", [255, 0])
def test_an_empty_page_gives_an_empty_text(opened: Opened, shade: int) -> None:
    blank = Page("blank", np.full((360, 760, 3), shade, np.uint8))
    (text,) = opened.reader.read([blank])
    assert len(text.text) <= 3


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (20, 4000), (4000, 20)])
def test_specks_and_strips_are_survived(opened: Opened, size: tuple[int, int]) -> None:
    page = Page("strip", np.full((*size, 3), 255, np.uint8))
    (text,) = opened.reader.read([page])
    assert text.lines == ()


def test_a_strip_between_pages_leaves_their_texts_alone(opened: Opened) -> None:
    strip = Page("strip", np.full((20, 4000, 3), 255, np.uint8))
    first, second = opened.pages
    before, nothing, after = opened.reader.read([first, strip, second])
    assert (before.text, nothing.text, after.text) == (opened.texts[0].text, "", opened.texts[1].text)


def test_an_error_inside_passes_through_and_stdout_stays_clean(
    opened: Opened, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        opened.engine.open(opened.settings, "cpu", StageTimer()) as reader,
    ):
        reader.read(opened.pages[:1])
        raise ZeroDivisionError
    assert capfd.readouterr().out == ""


def test_an_unknown_device_is_refused_with_a_sentence(opened: Opened) -> None:
    with (
        pytest.raises(UnsupportedError) as refusal,
        opened.engine.open(opened.settings, "abacus:7", StageTimer()),
    ):
        pass
    assert "abacus:7" in str(refusal.value)
    assert len(str(refusal.value).split()) >= 4
