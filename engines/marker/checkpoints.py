"""Where surya's weights lie, which are missing, and how they are brought. Its hubs alone have them: no wheel does."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from engines.interface import UnsupportedError
from engines.marker import versions

_BESIDE_THE_LANGUAGE_MODEL = (
    "FAST_LAYOUT_MODEL_CHECKPOINT",
    "FAST_ORDER_MODEL_CHECKPOINT",
    "OCR_ERROR_MODEL_CHECKPOINT",
)
_HUB, _BUCKET = "hf://", "s3://"


def missing() -> tuple[str, ...]:
    """The checkpoints of the installed version that are not on this machine, as its settings name them."""
    return tuple(place for place in _needed() if not _is_here(place))


def fetch() -> Iterator[str]:
    """Bring what is missing by the libraries' own means, a sentence a checkpoint.

    The hub's client verifies what it brings; the bucket publishes no checksums, only a list of its files.
    Raises UnsupportedError where a hub cannot be reached.
    """
    absent = missing()
    if not absent:
        yield "the weights of surya are here"
    for place in absent:
        try:
            _download(place)
        except (OSError, ValueError) as error:  # those of requests and huggingface_hub among them
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnsupportedError(
                f"could not fetch {place} for marker: {reason}; where the network allows, "
                "run `tune engines --fetch marker`"
            ) from error
        yield f"{place} fetched"


def _needed() -> tuple[str, ...]:
    """Checkpoints as settings name them: hf://owner/name/folder, s3://folder/date, or a path."""
    declared = versions.surya_settings()
    chosen = {name: os.environ.get(name, default) for name, default in declared.items()}
    if not versions.serves_language_model():
        named = [place for name, place in chosen.items() if name.endswith("_MODEL_CHECKPOINT") and place]
        return tuple(dict.fromkeys(named))
    files = (chosen.get("SURYA_GGUF_MODEL_FILE"), chosen.get("SURYA_GGUF_MMPROJ_FILE"))
    gguf = tuple(f"{_HUB}{chosen['SURYA_GGUF_REPO']}/{file}" for file in files)
    return (*(chosen[name] for name in _BESIDE_THE_LANGUAGE_MODEL), *gguf)


def _is_here(place: str) -> bool:
    if place.startswith(_HUB):
        repository, inside = _in_hub(place)
        snapshots = _hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots"
        return any((snapshot / inside).exists() for snapshot in snapshots.glob("*"))
    if place.startswith(_BUCKET):
        folder = _bucket_folder(place)
        try:
            listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return all((folder / str(file)).is_file() for file in listed)
    return Path(place).exists()


def _download(place: str) -> None:
    if place.startswith(_HUB):
        from huggingface_hub import snapshot_download

        repository, inside = _in_hub(place)
        snapshot_download(repository, allow_patterns=[inside, f"{inside}/*"] if inside else None)
    elif place.startswith(_BUCKET):
        from surya.common.s3 import download_directory

        folder = _bucket_folder(place)
        folder.mkdir(parents=True, exist_ok=True)
        download_directory(place.removeprefix(_BUCKET), str(folder))
    else:
        raise FileNotFoundError(f"there is nothing at {place}")


def _in_hub(place: str) -> tuple[str, str]:
    owner, name, *inside = place.removeprefix(_HUB).split("/")
    return f"{owner}/{name}", "/".join(inside)


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))


def _bucket_folder(place: str) -> Path:
    return model_cache() / place.removeprefix(_BUCKET)


def model_cache() -> Path:
    """Where surya keeps what comes from the bucket: MODEL_CACHE_DIR, else in the platform's cache folder."""
    if chosen := os.environ.get("MODEL_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "datalab"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "datalab" / ("Cache/models" if sys.platform == "win32" else "models")
