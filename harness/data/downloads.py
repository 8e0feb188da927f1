"""Downloads: https only, bounded, checked, unpacked without leaving their folder."""

import hashlib
import json
import os
import shutil
import ssl
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from harness.data import layouts
from harness.data.cache import new_folder
from harness.data.catalogue import ArchiveEntry
from harness.data.manifest import write_manifest, write_page
from harness.errors import UserError

MAX_DOWNLOAD_MIB = 4096
MAX_UNPACKED_MIB = 16_384
MAX_MEMBERS = 100_000
TIMEOUT_S = 60
LOCK = "addresses.json"
"""In the cache folder: the checksum of every address as it was first fetched."""


class UnsafeArchiveError(Exception):
    """An archive that would write outside its folder or fill the disk."""


def fetch_set(name: str, entry: ArchiveEntry, cache: Path) -> Path:
    """Download a public set, turn it into a folder with a manifest in the cache, and return that folder.

    Raises UserError where the network, the checksum, the archive or the disk is at fault.
    """
    target = set_folder(name, cache)
    if target.is_dir():
        return target
    with new_folder(target) as folder, TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
        raw = Path(scratch)
        try:
            _download_all(entry, raw, cache)
            entries = [_write(folder, page, entry.licence) for page in layouts.pages_of(entry.layout, raw)]
        except (UnsafeArchiveError, ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"what was fetched as {name!r} is not as expected ({error}): report it"
            ) from error
        if not entries:
            raise UserError(
                f"what was fetched as {name!r} holds no pages as {entry.layout} has them: report it"
            )
        write_manifest(folder, entries)
    return target


def set_folder(name: str, cache: Path) -> Path:
    """Where a fetched set lies."""
    return cache / "sets" / name


def download(address: str, target: Path, *, sha256: str | None, max_mib: int = MAX_DOWNLOAD_MIB) -> str:
    """Fetch one file over https and return its SHA-256. Raises UserError; then `target` does not exist."""
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.sha256()
    try:
        with _https(address) as response, partial.open("wb") as file:
            while chunk := response.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
                if file.tell() > max_mib << 20:
                    raise UserError(f"{address} is larger than {max_mib} MiB: not fetched")
            if response.length:  # bytes that were promised and did not come
                raise UserError(f"{address} broke off before its end: try again")
        found = digest.hexdigest()
        if sha256 not in (None, found):
            raise UserError(f"{address} has sha256 {found}, not {sha256}: it has changed and is not used")
        partial.replace(target)
    except urllib.error.HTTPError as error:
        error.close()
        raise UserError(f"cannot fetch {address} ({error}): it may have moved, report it") from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"cannot fetch {address} ({reason}): check the network and try again") from error
    finally:
        partial.unlink(missing_ok=True)
    return found


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file into `folder`. Raises UnsafeArchiveError."""
    folder.mkdir(parents=True, exist_ok=True)
    if zipfile.is_zipfile(archive):
        _unpack_zip(archive, folder)
    elif tarfile.is_tarfile(archive):
        _unpack_tar(archive, folder)
    else:
        raise UnsafeArchiveError(f"{archive.name} is neither a zip nor a tar file")


def _write(folder: Path, page: layouts.LaidOutPage, licence: str) -> dict[str, Any]:
    image = page.image.read_bytes()
    notes = {
        "language": page.language,
        "profile": page.profile,
        "document": page.document,
        "sha256": hashlib.sha256(image).hexdigest(),
        "licence": licence,
    }
    return write_page(folder, page.id, image=image, suffix=page.image.suffix, lines=page.lines, notes=notes)


class _HttpsOnly(urllib.request.HTTPHandler):
    """Refuses plain http, also where an https address redirects to it."""

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        raise urllib.error.URLError(f"{req.full_url} is not https")


def _https(address: str) -> HTTPResponse:
    if not address.startswith("https://"):
        raise UserError(f"{address} is not an https address: not fetched")
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    request = urllib.request.Request(address, headers={"User-Agent": "ocr-tune"})  # noqa: S310 - https, checked
    response: HTTPResponse = urllib.request.build_opener(_HttpsOnly, secure).open(request, timeout=TIMEOUT_S)
    return response


def _download_all(entry: ArchiveEntry, raw: Path, cache: Path) -> None:
    locked = _read_lock(cache)
    known = {file.address: file.sha256 or locked.get(file.address) for file in entry.files}
    found = {}
    for number, (address, sha256) in enumerate(known.items()):
        name = PurePosixPath(urllib.parse.urlsplit(address).path).name
        file = raw / (name if name.endswith(".json") else f"{number}.archive")
        found[address] = download(address, file, sha256=sha256)
        if file.suffix == ".archive":
            unpack(file, raw / str(number))
            file.unlink()
    if entry.images:
        (raw / "images").mkdir()
        for name in layouts.omnidocbench_images(raw):
            address = entry.images + urllib.parse.quote(name)
            found[address] = download(address, raw / "images" / name, sha256=locked.get(address), max_mib=512)
    _write_lock(cache, {**locked, **found})


def _read_lock(cache: Path) -> dict[str, str]:
    path = cache / LOCK
    if not path.is_file():
        return {}
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): delete it") from error
    return {str(address): str(sha256) for address, sha256 in lock.items()}


def _write_lock(cache: Path, lock: Mapping[str, str]) -> None:
    partial = cache / f"{LOCK}.{os.getpid()}.partial"
    partial.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(cache / LOCK)


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        _check_size(archive, len(members), sum(member.file_size for member in members))
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in member.filename:
                raise UnsafeArchiveError(f"{archive.name} holds the path {member.filename!r}")
            if member.external_attr >> 28 == 0xA:
                raise UnsafeArchiveError(f"{archive.name} holds the link {member.filename!r}")
            if member.is_dir():
                continue
            target = folder.joinpath(*path.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)  # zipfile stops at the size that the member declares


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as source:
        members = [member for member in source.getmembers() if member.isfile() or member.isdir()]
        _check_size(archive, len(members), sum(member.size for member in members))
        try:
            source.extractall(folder, members=members, filter="data")
        except tarfile.FilterError as error:
            raise UnsafeArchiveError(str(error)) from error


def _check_size(archive: Path, members: int, size: int) -> None:
    if members > MAX_MEMBERS or size > MAX_UNPACKED_MIB << 20:
        raise UnsafeArchiveError(f"{archive.name} unpacks to {members} files and {size >> 20} MiB")
