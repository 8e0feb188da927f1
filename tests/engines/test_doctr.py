"""The adapter, with random weights where the library's own are not on this machine."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines import doctr as adapter
from engines import mindee, pytorch
from engines.doctr import matrix
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
    assert not matrix.published("recognition", "master")["claimed_compiles"]
    assert matrix.published("detection", "fast_base")["claimed_compiles"]
    full = [
        name
        for name in ("crnn_vgg16_bn", "vitstr_small", "vitstr_base", "parseq", "master")
        if matrix.published("recognition", name)["claimed_fullgraph"]
    ]
    assert full == ["vitstr_small", "vitstr_base", "parseq"]


def test_a_process_that_fails_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho \'{"weights": "random"}\'\nprintf \'{"torn\'\necho gone >&2\nkill -11 $$\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    row = matrix._row("detection", "fast_tiny", "cpu")
    assert row["weights"] == "random"
    assert row["error"] == "ended with -11: gone"
    assert row["architecture"] == "fast_tiny"
