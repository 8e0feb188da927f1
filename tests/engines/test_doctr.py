"""The adapter, with random weights where the library's own are not on this machine."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines import doctr as adapter
from engines import mindee, pytorch
from engines.doctr import matrix, measure
from engines.interface import Gpu, Machine, Page, StageTimer, UnsupportedError
from tests.engines.support import LETTER, MACHINE, complete, drawn

needs_doctr = pytest.mark.skipif(find_spec("doctr") is None, reason="python-doctr is not installed")


@needs_doctr
def test_what_is_read_out_of_the_source_is_what_the_library_offers() -> None:
    with pytorch.quiet():
        from doctr.models.detection.zoo import ARCHS as DETECTION
        from doctr.models.recognition.zoo import ARCHS as RECOGNITION
    for part, theirs in (("detection", DETECTION), ("recognition", RECOGNITION)):
        assert list(mindee.architectures("doctr", part)) == theirs
        assert list(mindee.addresses("doctr", part)) == theirs


@needs_doctr
def test_pages_become_lines_with_boxes_and_stages() -> None:
    timer = StageTimer()
    names = {"det_arch": "fast_tiny", "reco_arch": "crnn_mobilenet_v3_small"}
    settings = complete(adapter.knobs(MACHINE), **names)
    with pytorch.running("doctr", "cpu", settings), pytorch.quiet():
        reader = adapter._Reader(adapter.predictor_of(settings, "cpu", timer, pretrained=False), timer)
        speck = Page("speck", np.full((1, 1, 3), 255, np.uint8))
        texts = reader.read([drawn("letter", *LETTER), speck])
        assert reader.read([]) == []
    assert len(texts) == 2
    assert all(line.text.strip() and line.box for text in texts for line in text.lines)
    assert {"detect", "recognise", "crop", "postprocess"} <= set(timer.take())


@needs_doctr
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compilations_are_counted_where_a_model_is_compiled() -> None:
    names = {"det_arch": "fast_tiny", "reco_arch": "crnn_mobilenet_v3_small"}
    counted = []
    for mode in ("off", "default"):
        timer = StageTimer()
        settings = complete(adapter.knobs(MACHINE), **names, rec_compile=mode)
        with pytorch.quiet():
            adapter.predictor_of(settings, "cpu", timer, pretrained=False)
        counted.append(set(timer.facts()))
    assert counted == [set(), {"compile_s", "compiled_graphs", "recompilations", "graph_breaks"}]


@needs_doctr
def test_missing_and_wrong_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(tmp_path))
    assert "tune engines --fetch doctr" in str(adapter.unusable(MACHINE))
    settings = complete(adapter.knobs(MACHINE))
    with pytest.raises(UnsupportedError, match=r"weights of fast_base-\w+ are not on this machine"):
        mindee.needed("doctr", settings)
    file = mindee.addresses("doctr", "detection")["fast_base"].file
    file.parent.mkdir()
    file.write_bytes(b"something else")
    with pytest.raises(UnsupportedError, match="wrong checksum"):
        mindee.needed("doctr", settings)


def test_half_precision_is_offered_with_a_gpu_only() -> None:
    gpu = Machine("test", 2, 8192, gpus=(Gpu(0, "test", 8192, "1"),))
    on_cpu, on_gpu = ({knob.name for knob in adapter.knobs(machine)} for machine in (MACHINE, gpu))
    assert on_gpu - on_cpu == {"precision"}


def test_the_published_matrix_is_that_of_the_documentation() -> None:
    assert matrix.published("recognition/master")["published_compiles"] is False
    assert matrix.published("detection/fast_base") == {
        "published_compiles": True,
        "published_fullgraph": False,
    }
    full = [
        name
        for name in ("crnn_vgg16_bn", "vitstr_small", "vitstr_base", "parseq", "master")
        if matrix.published(f"recognition/{name}")["published_fullgraph"]
    ]
    assert full == ["vitstr_small", "vitstr_base", "parseq"]
    assert set(matrix.published("layout/lw_detr_s").values()) == {None}


@needs_doctr
def test_the_matrix_has_every_model_that_a_predictor_can_be_given() -> None:
    with pytorch.quiet():
        from doctr.models import classification, layout, table_structure

    models = matrix.compile_models()
    assert {name for name in models if name.startswith("layout/")} == {
        f"layout/{name}" for name in layout.zoo.ARCHS
    }
    assert {f"table_structure/{name}" for name in table_structure.zoo.ARCHS} <= set(models)
    assert {f"classification/{name}" for name in classification.zoo.ORIENTATION_ARCHS} <= set(models)
    assert len(models) == len(set(models))


@needs_doctr
def test_differences_are_relative_to_the_largest_output() -> None:
    import torch

    eager = [torch.tensor([1e5, -2.0, torch.inf]), torch.tensor([1.0])]
    ours = [torch.tensor([1e5 + 1, -2.0, torch.inf]), torch.tensor([1.0])]
    assert measure._difference(ours, eager) == pytest.approx(1e-5, rel=0.1)
    assert measure._difference(eager, eager) == 0.0
    assert measure._difference([ours[0], torch.tensor([1.5])], eager) == pytest.approx(0.5)
    assert measure._difference([ours[0][:2], ours[1]], eager) is None
    assert measure._difference([torch.tensor([1.0, 1.0, 1.0]), ours[1]], eager) is None


@needs_doctr
def test_own_weights_are_read_from_their_file(tmp_path: Path) -> None:
    import torch

    with pytorch.quiet():
        from doctr.models import recognition

        model = recognition.crnn_mobilenet_v3_small(pretrained=False, pretrained_backbone=False)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    read = adapter._model("recognition", f"crnn_mobilenet_v3_small={tmp_path / 'own.pt'}")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), read.parameters(), strict=True))
    with pytest.raises(UnsupportedError, match=r"own\.pt has no weights of crnn_vgg16_bn"):
        adapter._model("recognition", f"crnn_vgg16_bn={tmp_path / 'own.pt'}")
    assert adapter._model("recognition", "parseq") == "parseq"
