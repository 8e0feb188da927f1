"""int8 models, built by the real tools from drawn pages."""

from pathlib import Path
from typing import Any

import pytest

from engines import ppocr
from engines.interface import PageText, Setting, StageTimer, UnsupportedError
from engines.ppocr import calibration, quantization
from engines.ppocr.models import characters, resolve
from engines.ppocr.quantization import openvino_nncf, quantised
from engines.ppocr.runtimes import open_session
from tests.engines.ppocr.support import stage_options
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, drawn

pytest.importorskip("nncf", reason="int8 models are built with nncf")
pytest.importorskip("onnx", reason="int8 models are built with onnx")

PAGES = (drawn("letter", *LETTER), drawn("invoice", *INVOICE))
WAYS = [
    ("openvino", "static"),
    ("openvino", "dynamic"),
    ("onnxruntime", "static"),
    ("onnxruntime", "dynamic"),
]


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The name of the drawn pages as a calibration set, in a cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCR_TUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield calibration.keep(PAGES)


def options(runtime: str, method: str, kept: str) -> dict[str, Setting]:
    pages: dict[str, Setting] = {"calibration": kept, "float_layers": 8} if method == "static" else {}
    return {**stage_options(runtime=runtime, threads=1), "quantization": method, **pages}


def texts(**changes: Setting) -> list[PageText]:
    settings = complete(ppocr.knobs(MACHINE), use_cls=False, det_side=320, rec_min_width=32, **changes)
    with ppocr.open(settings, "cpu", StageTimer()) as reader:
        return list(reader.read(PAGES))


@pytest.mark.parametrize(("runtime", "method"), WAYS)
def test_clean_lines_are_read_alike_in_int8(kept: str, runtime: str, method: str) -> None:
    pages = {"rec_calibration": kept} if method == "static" else {}
    read = texts(rec_runtime=runtime, rec_quantization=method, **pages)
    assert [line.text for page in read for line in page.lines] == [*LETTER, *INVOICE]


def test_an_int8_detector_finds_the_same_lines(kept: str) -> None:
    read = texts(
        det_runtime="openvino", det_quantization="static", det_calibration=kept, rec_runtime="openvino"
    )
    assert [line.text for page in read for line in page.lines] == [*LETTER, *INVOICE]


def test_openvino_computes_in_int8(kept: str) -> None:
    import openvino as ov

    built = quantised(
        "rec", resolve("rec", "v6_small"), options("openvino", "static", kept), "cpu", StageTimer()
    )
    compiled = ov.Core().compile_model(built, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    heavy = [
        str(info["runtimePrecision"].value)
        for info in (op.get_rt_info() for op in compiled.get_runtime_model().get_ops())
        if info["layerType"].value in ("Convolution", "FullyConnected")
    ]
    assert sum(precision in ("u8", "i8") for precision in heavy) > len(heavy) / 2


@pytest.mark.parametrize(("runtime", "method"), WAYS)
def test_an_int8_model_is_smaller_and_keeps_its_characters(kept: str, runtime: str, method: str) -> None:
    model = resolve("rec", "v6_small")
    built = quantised("rec", model, options(runtime, method, kept), "cpu", StageTimer())
    assert sum(path.stat().st_size for path in built.parent.iterdir()) < 0.7 * model.stat().st_size
    session = open_session(built, options(runtime, method, kept), "cpu")
    original = open_session(model, stage_options(runtime="onnxruntime"), "cpu")
    assert characters(model, session.metadata) == characters(model, original.metadata)


def test_what_was_built_is_opened_again_without_its_pages(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, chosen = resolve("rec", "v6_small"), options("openvino", "static", kept)
    built = quantised("rec", model, chosen, "cpu", StageTimer())
    monkeypatch.setattr(calibration, "_kept", lambda *_: pytest.fail("the pages were read again"))
    timer = StageTimer()
    assert quantised("rec", model, chosen, "cpu", timer) == built
    assert not timer.take()


def test_another_version_of_the_builder_builds_anew(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, chosen = resolve("rec", "v6_small"), options("openvino", "static", kept)
    before = quantised("rec", model, chosen, "cpu", StageTimer())
    timer = StageTimer()
    monkeypatch.setattr(quantization, "version", lambda package: "99")
    monkeypatch.setattr(
        openvino_nncf, "static", lambda model, target, inputs, layers: target.write_text("new")
    )
    assert quantised("rec", model, chosen, "cpu", timer) != before
    assert list(timer.take()) == ["build"]


def test_without_quantisation_the_model_is_opened_as_it_is() -> None:
    model = resolve("rec", "v6_small")
    assert quantised("rec", model, stage_options(runtime="openvino"), "cuda:0", StageTimer()) == model


def test_without_calibration_pages_it_is_said_what_to_set() -> None:
    with pytest.raises(UnsupportedError, match="set rec_calibration to a folder of page images"):
        texts(rec_quantization="static")


def test_a_package_that_is_missing_is_named(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_nncf, "PACKAGES", ("nonsuch-package",))
    with pytest.raises(UnsupportedError, match="run `pip install nonsuch-package`"):
        quantised("rec", resolve("rec", "v6_small"), options("openvino", "static", kept), "cpu", StageTimer())


def test_int8_is_refused_on_a_gpu(kept: str) -> None:
    with pytest.raises(UnsupportedError, match="set rec_quantization=none on cuda:0"):
        quantised(
            "rec", resolve("rec", "v6_small"), options("onnxruntime", "static", kept), "cuda:0", StageTimer()
        )


def test_a_model_that_cannot_be_quantised_is_a_setting_that_cannot_run(kept: str, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("not a model")
    for runtime, method in WAYS:
        with pytest.raises(UnsupportedError, match=rf"{method} int8 of model.onnx cannot be built: \S"):
            quantised("rec", file, options(runtime, method, kept), "cpu", StageTimer())
