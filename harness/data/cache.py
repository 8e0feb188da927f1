"""Folders of the cache that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import UserError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which then appears at `target` whole; a run that is killed leaves no `target`.

    Raises UserError where the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
            folder = Path(scratch) / "set"
            folder.mkdir()
            yield folder
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():  # else another process made the same folder first
                    raise
    except OSError as error:
        raise UserError(
            f"cannot write the cache folder {target.parent} ({error.strerror}): "
            "set OCR_TUNE_CACHE to a folder that can be written and has room"
        ) from error
