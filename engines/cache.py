"""The folder that models, artefacts and data sets are kept in between runs."""

import os
import sys
from pathlib import Path


def cache_root() -> Path:
    """`$OCR_TUNE_CACHE`, else the platform's cache folder. It need not exist."""
    home = os.environ.get("OCR_TUNE_CACHE")
    if home:
        return Path(home)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ocr-tune"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "ocr-tune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocr-tune"
