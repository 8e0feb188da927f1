"""The adapter on networks built by hand, for the library's own weights come from a hub."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines import mindee
from engines import onnxtr as adapter
from engines.interface import Gpu, Machine, Page, Setting, StageTimer, UnsupportedError
from tests.engines.support import LETTER, MACHINE, complete, drawn

pytestmark = pytest.mark.skipif(
    find_spec("onnxtr") is None or find_spec("onnx") is None, reason="onnxtr or onnx is not installed"
)
WORD = "ink"
GPU = Machine("test", 2, 8192, gpus=(Gpu(0, "test", 8192, "1"),))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without weights."""
    monkeypatch.setenv("ONNXTR_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def own(home: Path) -> dict[str, Setting]:
    """Settings that name the user's own networks."""
    from onnxtr.utils import VOCABS

    from tests.engines.networks import constant_reader, ink_detector

    vocabulary = VOCABS["french"]
    spelling = tuple(vocabulary.index(letter) for letter in WORD)
    reader = constant_reader(home / "reader.onnx", spelling, len(vocabulary) + 1)
    return {
        "det_arch": f"db_resnet50={ink_detector(home / 'detector.onnx')}",
        "reco_arch": f"crnn_mobilenet_v3_small={reader}",
    }


def test_what_is_read_out_of_the_source_is_what_the_library_offers() -> None:
    from onnxtr.models.classification.zoo import ORIENTATION_ARCHS
    from onnxtr.models.detection.zoo import ARCHS as DETECTION
    from onnxtr.models.recognition.zoo import ARCHS as RECOGNITION

    assert list(mindee.architectures("onnxtr", "detection")) == DETECTION
    assert list(mindee.architectures("onnxtr", "recognition")) == RECOGNITION
    assert list(mindee.addresses("onnxtr", "classification")) == ORIENTATION_ARCHS
    assert list(mindee.addresses("onnxtr", "recognition")) == RECOGNITION
    eight_bit = mindee.addresses("onnxtr", "detection", "url_8_bit")
    assert set(eight_bit) == {name for name in DETECTION if not name.startswith("fast")}


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("threads", [0, 1])
def test_every_drawn_word_is_found_where_it_is_and_read(
    own: dict[str, Setting], straight: bool, threads: int
) -> None:
    timer = StageTimer()
    changes = own | {"assume_straight_pages": straight, "threads": threads, "disable_crop_orientation": True}
    settings = complete(adapter.knobs(MACHINE), **changes)
    page = drawn("letter", *LETTER)
    speck = Page("speck", np.full((1, 1, 3), 255, np.uint8))
    with adapter.open(settings, "cpu", timer) as reader:
        text, nothing = reader.read([page, speck])
        assert list(reader.read([])) == []
    assert nothing.lines == ()
    # The words of a line may touch where the detector reaches; the lines do not.
    assert len(text.lines) == len(LETTER)
    for line, row in zip(text.lines, range(len(LETTER)), strict=True):
        assert set(line.text.split()) == {WORD}
        assert line.box is not None
        (left, top), _, (_, bottom), _ = line.box
        assert 0 <= left <= 60
        assert abs((top + bottom) / 2 - (80 + 90 * row)) < 15
    assert {"detect", "recognise", "crop", "postprocess"} <= set(timer.take())


def test_words_are_read_the_same_in_batches_of_any_size(own: dict[str, Setting]) -> None:
    pages = [drawn("letter", *LETTER), drawn("line", LETTER[0])]
    texts = []
    for det_bs, reco_bs in ((1, 1), (2, 512)):
        settings = complete(adapter.knobs(MACHINE), **own, det_bs=det_bs, reco_bs=reco_bs)
        with adapter.open(settings, "cpu", StageTimer()) as reader:
            texts.append(list(reader.read(pages)))
    assert texts[0] == texts[1]


def test_own_weights_in_the_environment_make_it_usable(
    own: dict[str, Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = adapter.unusable(MACHINE)
    assert refusal is not None
    assert "tune engines --fetch onnxtr" in refusal
    assert "ONNXTR_DET_ARCH" in refusal
    monkeypatch.setenv("ONNXTR_DET_ARCH", str(own["det_arch"]))
    monkeypatch.setenv("ONNXTR_RECO_ARCH", str(own["reco_arch"]))
    assert adapter.unusable(MACHINE) is None
    by_name = {knob.name: knob for knob in adapter.knobs(MACHINE)}
    assert by_name["det_arch"].default == own["det_arch"]
    assert by_name["det_arch"].domain.values == (own["det_arch"],)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, r"weights of fast_base-\w+ are not on this machine|weights of rep_fast_base-\w+"),
        ({"det_arch": "db_resnet5"}, "no detection architecture 'db_resnet5'; choose one of"),
        ({"reco_arch": "parseq=/nowhere.onnx"}, "no weights of parseq at /nowhere.onnx"),
    ],
)
def test_missing_weights_are_named(own: dict[str, Setting], changes: dict[str, Setting], reason: str) -> None:
    settings = complete(adapter.knobs(MACHINE), **((own | changes) if changes else {}))
    with pytest.raises(UnsupportedError, match=reason), adapter.open(settings, "cpu", StageTimer()):
        pass


def test_a_file_that_is_no_network_is_refused(own: dict[str, Setting], home: Path) -> None:
    (home / "text.onnx").write_text("not a network")
    settings = complete(adapter.knobs(MACHINE), **own | {"reco_arch": f"parseq={home / 'text.onnx'}"})
    with (
        pytest.raises(UnsupportedError, match=r"text\.onnx cannot be loaded as parseq"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass


def test_eight_bits_ask_for_the_other_weights(home: Path) -> None:
    changes: dict[str, Setting] = {"det_arch": "db_resnet50", "load_in_8_bit": True}
    settings = complete(adapter.knobs(MACHINE), **changes)
    with (
        pytest.raises(UnsupportedError, match="db_resnet50_static_8_bit-"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass


@pytest.mark.parametrize(
    ("device", "runtime", "reason"),
    [
        ("cuda:0", "openvino", "openvino runs on a CPU"),
        ("cpu", "tensorrt", "tensorrt needs a GPU"),
        ("abacus:1", "onnxruntime", "does not run on 'abacus:1'"),
    ],
)
def test_runtimes_have_their_devices(own: dict[str, Setting], device: str, runtime: str, reason: str) -> None:
    settings = complete(adapter.knobs(MACHINE), **own, det_runtime=runtime)
    with pytest.raises(UnsupportedError, match=reason), adapter.open(settings, device, StageTimer()):
        pass


def test_a_provider_that_the_build_lacks_is_named(own: dict[str, Setting]) -> None:
    import onnxruntime

    if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build has OpenVINO")
    settings = complete(adapter.knobs(MACHINE), **own, det_runtime="openvino")
    with (
        pytest.raises(UnsupportedError, match="has no OpenVINOExecutionProvider, only"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass


def test_the_openvino_build_reads_as_onnx_runtime_does(own: dict[str, Setting]) -> None:
    if "openvino" not in adapter._runtimes(MACHINE):
        pytest.skip("onnxruntime-openvino is not installed")
    page = drawn("letter", *LETTER)
    texts = []
    for runtime in ("onnxruntime", "openvino"):
        for threads in (0, 1):
            changes = own | {"det_runtime": runtime, "reco_runtime": runtime, "threads": threads}
            with adapter.open(complete(adapter.knobs(MACHINE), **changes), "cpu", StageTimer()) as reader:
                texts.append(next(iter(reader.read([page]))).text)
    assert texts[0]
    assert len(set(texts)) == 1


def test_the_search_of_cudnn_is_offered_with_a_gpu_only() -> None:
    on_cpu, on_gpu = ({knob.name for knob in adapter.knobs(machine)} for machine in (MACHINE, GPU))
    assert on_gpu - on_cpu == {"cudnn_search"}
