"""The adapter against the library itself."""

import inspect
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from engines import easyocr as adapter
from engines import pytorch, weights
from engines.interface import Gpu, Machine, Setting, StageTimer, UnsupportedError
from tests.engines.support import LETTER, MACHINE, complete, drawn, loaded, read, words

pytestmark = pytest.mark.skipif(
    adapter.unusable(MACHINE) is not None, reason=f"easyocr: {adapter.unusable(MACHINE)}"
)


@pytest.fixture(scope="module")
def library() -> Any:
    """The library used as its manual says, on the same weights."""
    import easyocr

    with pytorch.quiet():
        return easyocr.Reader(
            ["en"],
            gpu=False,
            model_storage_directory=str(adapter._folder(adapter._ENGLISH)),
            download_enabled=False,
            verbose=False,
        )


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without weights; the folder is where the library would keep them."""
    monkeypatch.setenv("EASYOCR_MODULE_PATH", str(tmp_path))
    monkeypatch.setattr(weights, "installed_file", lambda *_: None)
    return tmp_path / "model"


def test_defaults_read_what_the_library_reads_from_the_file(
    receipt: Path, library: Any, tmp_path: Path
) -> None:
    file = tmp_path / "grey.png"  # of a coloured file, OpenCV's reader makes a grey that rounds differently
    Image.open(receipt).convert("L").save(file)
    with pytorch.quiet():
        theirs = library.readtext(str(file))
    (ours,) = read("easyocr", [loaded(file)])
    assert len(theirs) > 10
    assert [line.text for line in ours.lines] == [text for _, text, _ in theirs if text.strip()]
    assert [line.confidence for line in ours.lines] == pytest.approx([sure for *_, sure in theirs], abs=1e-6)


def test_the_error_rate_is_that_of_the_library(real_pages: Path, library: Any) -> None:
    ours, theirs, length = 0, 0, 0
    for name in ("045",):
        file = real_pages / "sroie_receipts" / f"{name}.jpg"
        truth = words(file.with_suffix(".txt").read_text(encoding="utf-8"))
        page = loaded(file)
        grey = np.asarray(Image.open(file).convert("L"))
        with pytorch.quiet():
            found = library.recognize(grey, *(boxes[0] for boxes in library.detect(page.pixels)))
        (text,) = read("easyocr", [page])
        ours += Levenshtein.distance(words(text.text), truth)
        theirs += Levenshtein.distance(words(" ".join(line for _, line, _ in found)), truth)
        length += len(truth)
    assert ours == theirs
    assert 0 < ours < 0.8 * length


def test_defaults_are_those_of_the_library() -> None:
    import easyocr

    defaults = {knob.name: knob.default for knob in adapter.knobs(MACHINE)}
    theirs = {
        **inspect.signature(easyocr.Reader.__init__).parameters,
        **inspect.signature(easyocr.Reader.readtext).parameters,
    }
    named = {"detector": "detect_network", "beam_width": "beamWidth"}
    shared = {
        ours: theirs[named.get(ours, ours)].default for ours in defaults if named.get(ours, ours) in theirs
    }
    assert len(shared) >= 13
    assert shared == {name: defaults[name] for name in shared}


def test_settings_reach_the_library() -> None:
    page = drawn("letter", *LETTER)
    (plain,) = read("easyocr", [page])
    (small,) = read("easyocr", [page], canvas_size=320)
    (beams,) = read("easyocr", [page], decoder="beamsearch", beam_width=1)
    (again,) = read("easyocr", [page], contrast_ths=1.0, adjust_contrast=1.0)
    assert [line.box for line in small.lines] != [line.box for line in plain.lines]
    assert [line.box for line in beams.lines] == [line.box for line in plain.lines]
    assert [line.confidence for line in again.lines] != [line.confidence for line in plain.lines]


def test_layout_and_precision_reach_the_model_that_they_name() -> None:
    import torch

    def models(**changes: Setting) -> tuple[Any, Any]:
        with adapter.open(complete(adapter.knobs(MACHINE), **changes), "cpu", StageTimer()) as reader:
            return reader._ocr.detector, reader._ocr.recognizer

    def is_channels_last(model: Any) -> bool:
        wide = [weight for weight in model.parameters() if weight.dim() == 4 and min(weight.shape[1:]) > 1]
        return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in wide)

    x = torch.rand(1, 3, 64, 64)
    plain, _ = models()
    detector, recogniser = models(det_channels_last=True)
    lower, _ = models(det_autocast="bfloat16")
    with torch.inference_mode():
        scores, again, rounded = (model(x)[0] for model in (plain, detector, lower))
    assert is_channels_last(detector)
    assert not is_channels_last(plain)
    assert not is_channels_last(recogniser)
    assert torch.allclose(scores, again, atol=1e-4)
    assert rounded.dtype == torch.float32
    assert 0 < (scores - rounded).abs().max() < 0.2


@pytest.mark.parametrize(
    "changes",
    [
        {"quantize": False},
        {"det_autocast": "bfloat16", "det_channels_last": True},
        {"rec_autocast": "bfloat16"},
        {"threads": 1, "workers": 1},
    ],
    ids=str,
)
def test_other_precision_and_workers_read_the_same_words(changes: dict[str, Any]) -> None:
    (text,) = read("easyocr", [drawn("letter", *LETTER)], **changes)
    # In any order: a box that comes out slanted is read after all straight ones.
    assert sorted(text.text.split()) == sorted(" ".join(LETTER).split())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_a_compiled_recogniser_reads_the_same_words() -> None:
    page = drawn("letter", *LETTER)
    changes: dict[str, Setting] = {"quantize": False, "rec_compile": "default", "rec_dynamic": "yes"}
    timer = StageTimer()
    with adapter.open(complete(adapter.knobs(MACHINE), **changes), "cpu", timer) as reader:
        (text,) = reader.read([page])
    assert words(text.text) == words(" ".join(LETTER))
    assert timer.facts()["compiled_graphs"] >= 1


def test_settings_without_effect_are_left_out() -> None:
    gpu = Machine("test", 2, 8192, gpus=(Gpu(0, "test", 8192, "1"),))
    on_cpu, on_gpu = ({knob.name for knob in adapter.knobs(machine)} for machine in (MACHINE, gpu))
    assert on_gpu - on_cpu == {"batch_size", "cudnn_benchmark"}
    assert on_cpu - on_gpu == {"quantize"}


def test_missing_weights_are_named_and_not_downloaded(empty: Path) -> None:
    assert "tune engines --fetch easyocr" in str(adapter.unusable(MACHINE))
    settings = complete(adapter.knobs(MACHINE))
    with (
        pytest.raises(UnsupportedError, match="craft_mlt_25k"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass
    assert list(empty.glob("*.pth")) == []


def test_weights_with_a_wrong_checksum_are_refused(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.mkdir(parents=True)
    for name in adapter._ENGLISH:
        (empty / name).write_bytes(b"something else")
    with (
        pytest.raises(UnsupportedError, match="MD5 mismatch"),
        adapter.open(complete(adapter.knobs(MACHINE)), "cpu", StageTimer()),
    ):
        pass


def test_an_unknown_language_is_refused() -> None:
    settings = complete(adapter.knobs(MACHINE), language="tlh")
    with pytest.raises(UnsupportedError, match="tlh"), adapter.open(settings, "cpu", StageTimer()):
        pass


def test_a_device_that_is_not_there_is_refused() -> None:
    settings = complete(adapter.knobs(MACHINE))
    with pytest.raises(UnsupportedError, match="cuda:9"), adapter.open(settings, "cuda:9", StageTimer()):
        pass


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_a_pickle_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    import pickle

    import torch

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"weights": Trap()}, tmp_path / "trap.pth")
    with pytorch.running("test", "cpu", {"threads": 0}), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "trap.pth", weights_only=False)
    assert not (tmp_path / "sprung").exists()
