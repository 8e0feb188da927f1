"""Downloads over real https from this machine: checked, bounded, unpacked safely."""

import hashlib
import io
import json
import ssl
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from harness.data.catalogue import ArchiveEntry, RemoteFile
from harness.data.downloads import UnsafeArchiveError, download, fetch_set, unpack
from harness.data.folder import find_sources, read_pages
from harness.errors import UserError


class Server:
    """Serves `files` by path; `redirects` sends elsewhere; paths in `cut` break off half-way."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.cut: set[str] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path in site.redirects:
                    self.send_response(302)
                    self.send_header("Location", site.redirects[self.path])
                    self.end_headers()
                    return
                if self.path not in site.files:
                    self.send_error(404)
                    return
                body = site.files[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if self.path in site.cut else body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("localhost", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"https://localhost:{self.server.server_port}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *subject, "-out", str(made)], check=True, capture_output=True
    )
    return made, key


@pytest.fixture
def site(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("no_proxy", "*")
    server = Server(*certificate)
    thread = threading.Thread(target=server.server.serve_forever)
    thread.start()
    yield server
    server.server.shutdown()
    thread.join()
    server.server.server_close()


def zipped(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw.getvalue()


def png() -> bytes:
    raw = io.BytesIO()
    Image.new("L", (20, 10), 255).save(raw, "PNG")
    return raw.getvalue()


def entry(layout: str, *files: RemoteFile, images: str | None = None) -> ArchiveEntry:
    return ArchiveEntry.model_validate(
        {
            "kind": "archive",
            "summary": "s",
            "licence": "CC0-1.0",
            "language": "en",
            "layout": layout,
            "files": files,
            "images": images,
        }
    )


FUNSD = {
    "dataset/testing_data/images/82.png": png(),
    "dataset/testing_data/annotations/82.json": json.dumps(
        {"form": [{"words": [{"text": "Date:", "box": [1, 1, 9, 5]}]}]}
    ).encode(),
    "__MACOSX/dataset/testing_data/annotations/._82.json": b"junk",
}


def test_a_public_set_is_fetched_converted_and_usable(site: Server, tmp_path: Path) -> None:
    site.files["/dataset.zip"] = zipped(FUNSD)
    sha256 = hashlib.sha256(site.files["/dataset.zip"]).hexdigest()
    listed = entry("funsd", RemoteFile(address=f"{site.address}/dataset.zip", sha256=sha256))
    folder = fetch_set("forms", listed, tmp_path)
    (source,) = find_sources(folder).files
    (page,) = read_pages(source)
    assert (page.id, page.text, page.boxes[0].text) == ("82", "Date:", "Date:")
    assert source.sha256 == hashlib.sha256(png()).hexdigest()
    assert {path.name for path in tmp_path.iterdir()} == {"sets", "addresses.json"}
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["forms"]
    site.files.clear()
    assert fetch_set("forms", listed, tmp_path) == folder  # without the network


def test_a_wrong_checksum_leaves_nothing_behind(site: Server, tmp_path: Path) -> None:
    site.files["/dataset.zip"] = zipped(FUNSD)
    listed = entry("funsd", RemoteFile(address=f"{site.address}/dataset.zip", sha256="0" * 64))
    with pytest.raises(UserError, match="has sha256"):
        fetch_set("forms", listed, tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "sets"]


def test_without_a_published_checksum_the_first_fetch_decides(site: Server, tmp_path: Path) -> None:
    def page(name: str) -> dict[str, object]:
        info = {"image_path": name, "page_attribute": {"language": "english"}}
        poly = [0, 0, 9, 0, 9, 9, 0, 9]
        return {
            "layout_dets": [{"category_type": "title", "poly": poly, "order": 1, "text": "Title"}],
            "page_info": info,
        }

    site.files["/OmniDocBench.json"] = json.dumps([page("目 a.png"), page("b.png")]).encode()
    site.files["/images/%E7%9B%AE%20a.png"] = site.files["/images/b.png"] = png()
    file = RemoteFile(address=f"{site.address}/OmniDocBench.json", sha256=None)
    listed = entry("omnidocbench", file, images=f"{site.address}/images/")
    first = fetch_set("first", listed, tmp_path)
    assert [source.id for source in find_sources(first).files] == ["目 a", "b"]
    fetch_set("second", listed, tmp_path)
    site.files["/images/b.png"] += b"changed"
    with pytest.raises(UserError, match=r"b\.png has sha256 .*it has changed"):
        fetch_set("third", listed, tmp_path)
    site.files["/images/b.png"] = png()
    site.files["/OmniDocBench.json"] += b" "
    with pytest.raises(UserError, match=r"OmniDocBench\.json has sha256 .*it has changed"):
        fetch_set("fourth", listed, tmp_path)


def test_files_in_another_layout_are_a_user_error(site: Server, tmp_path: Path) -> None:
    for number, files in enumerate(
        ({"readme.txt": b"x"}, {"annotations/1.json": b"[", "images/1.png": png()})
    ):
        site.files["/a.zip"] = zipped(files)
        listed = entry("funsd", RemoteFile(address=f"{site.address}/a.zip", sha256=None))
        with pytest.raises(UserError, match="report it"):
            fetch_set("forms", listed, tmp_path / str(number))


def test_only_https_is_used_even_after_a_redirect(site: Server, tmp_path: Path) -> None:
    site.files["/good"] = b"content"
    site.redirects["/moved"] = f"{site.address}/good"
    site.redirects["/down"] = "http://localhost:9/plain"
    assert (
        download(f"{site.address}/moved", tmp_path / "a", sha256=None)
        == hashlib.sha256(b"content").hexdigest()
    )
    with pytest.raises(UserError, match="is not https"):
        download(f"{site.address}/down", tmp_path / "b", sha256=None)
    for address in ("http://localhost/a", "file:///etc/passwd", "ftp://localhost/a"):
        with pytest.raises(UserError, match="not an https address"):
            download(address, tmp_path / "b", sha256=None)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_missing_endless_and_cut_off_files_leave_nothing(site: Server, tmp_path: Path) -> None:
    site.files["/long"] = bytes(3 << 20)
    site.files["/short"] = bytes(3 << 20)
    site.cut.add("/short")
    with pytest.raises(UserError, match="404"):
        download(f"{site.address}/nothing", tmp_path / "a", sha256=None)
    with pytest.raises(UserError, match="larger than 2 MiB"):
        download(f"{site.address}/long", tmp_path / "a", sha256=None, max_mib=2)
    with pytest.raises(UserError, match=r"broke off|cannot fetch"):
        download(f"{site.address}/short", tmp_path / "a", sha256=None)
    with pytest.raises(UserError, match="cannot fetch"):
        download("https://localhost:9/refused", tmp_path / "a", sha256=None)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_trusted_is_not_used(
    site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/a"] = b"x"
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UserError, match="certificate"):
        download(f"{site.address}/a", tmp_path / "a", sha256=None)


def tarred(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def zip_link() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return raw.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        zipped({"../out.txt": b"x"}),
        zipped({"/out.txt": b"x"}),
        zipped({"a/../../out.txt": b"x"}),
        zipped({"..\\out.txt": b"x"}),
        zip_link(),
        tarred(tarfile.TarInfo("../out.txt"), b"x"),
        b"neither",
    ],
)
def test_archives_that_lead_outside_are_refused(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "archive").write_bytes(archive)
    with pytest.raises(UnsafeArchiveError):
        unpack(tmp_path / "archive", tmp_path / "in" / "deep")
    assert not list(tmp_path.rglob("out.txt"))
    assert not list((tmp_path / "in").rglob("link"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.downloads.MAX_UNPACKED_MIB", 1)
    (tmp_path / "bomb.zip").write_bytes(zipped({"a": bytes(1 << 20), "b": bytes(1 << 20)}))
    with pytest.raises(UnsafeArchiveError, match="unpacks to"):
        unpack(tmp_path / "bomb.zip", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


def test_tar_files_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(tarred(tarfile.TarInfo("x/y.txt"), b"content"))
    unpack(tmp_path / "a.tgz", tmp_path / "in")
    assert (tmp_path / "in" / "x" / "y.txt").read_bytes() == b"content"
