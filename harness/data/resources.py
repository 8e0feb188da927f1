"""Where the files that come with the tool are."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def resource(name: str) -> Path:
    """The path of a file or folder of the repository's root; in an installed wheel it lies in the package.

    Raises FileNotFoundError where the installation lacks it.
    """
    for folder in (_PACKAGE, _PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{name} is missing from this installation of ocr-tune")
