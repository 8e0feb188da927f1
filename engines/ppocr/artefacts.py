"""Model files that are built on this machine and kept in the cache, under the hash of what they were built from."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from engines.cache import cache_root
from engines.interface import UnsupportedError
from engines.weights import sha256_of

_RECORD = "built.json"
_MAX_RECORD_BYTES = 1 << 20


def obtain(recipe: Mapping[str, str], build: Callable[[Path], None]) -> Path:
    """The folder of the artefact that `recipe` names; `build` fills an empty one where it is missing or damaged.

    The recipe must name everything that the outcome depends on. Replicas that start together build once: the
    others wait. Side effect: writes into the cache; a folder appears there only whole.
    Raises UnsupportedError where the cache cannot be written, and whatever `build` raises.
    """
    folder = cache_root() / "artefacts" / _key(recipe)
    if _intact(folder):  # nothing is written then: the cache may be read-only
        return folder
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The system frees this lock when its holder dies, so that a build that was killed blocks nobody.
        with FileLock(folder.with_suffix(".lock")):
            if not _intact(folder):
                # With what builds that were killed have left: nobody else builds this one now.
                for stale in (folder, *folder.parent.glob(f"{_partial(folder)}*")):
                    shutil.rmtree(stale, ignore_errors=True)
                _build(folder, recipe, build)
    except OSError as error:
        raise UnsupportedError(
            f"cannot keep a model in {folder.parent} ({error.strerror or error}): "
            "set OCR_TUNE_CACHE to a folder that can be written and has room"
        ) from error
    return folder


def shared(recipe: Mapping[str, str]) -> Path:
    """The folder in which a runtime keeps, by itself, what it builds for `recipe`. Side effect: creates it.

    Raises UnsupportedError where the cache cannot be written.
    """
    folder = cache_root() / "artefacts" / "runtime" / _key(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnsupportedError(
            f"cannot write {folder} ({error.strerror or error}): set OCR_TUNE_CACHE to a folder that can be written"
        ) from error
    return folder


def _key(recipe: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(recipe), sort_keys=True).encode()).hexdigest()[:32]


def _build(folder: Path, recipe: Mapping[str, str], build: Callable[[Path], None]) -> None:
    began = time.perf_counter()
    with TemporaryDirectory(dir=folder.parent, prefix=_partial(folder)) as scratch:
        new = Path(scratch) / folder.name
        new.mkdir()
        build(new)
        build_s = time.perf_counter() - began
        files = {path.name: sha256_of(path) for path in sorted(new.iterdir())}
        record = {"recipe": dict(recipe), "build_s": round(build_s, 3), "sha256": files}
        (new / _RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
        new.rename(folder)
    # Part of the cold start of the trial that happens to build; here it is told apart from loading.
    sys.stderr.write(f"built {folder} in {build_s:.1f} s\n")


def _partial(folder: Path) -> str:
    return f".partial-{folder.name}-"


def _intact(folder: Path) -> bool:
    record = folder / _RECORD
    try:
        if record.stat().st_size > _MAX_RECORD_BYTES:
            return False
        files = json.loads(record.read_text(encoding="utf-8"))["sha256"]
        return bool(files) and all(sha256_of(folder / Path(name).name) == files[name] for name in files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
