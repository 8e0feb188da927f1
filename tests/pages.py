"""Pages for the scripted engine: images whose pixels are the text."""

from pathlib import Path

import numpy as np
from PIL import Image

from harness.data import PageRef
from harness.values import ReferencePage

_WIDTH, _HEIGHT = 32, 16


def write_page(folder: Path, name: str, text: str) -> Path:
    """A PNG with `text` as its RGB bytes, and the ground truth beside it."""
    data = text.encode()
    pixels = np.zeros(_HEIGHT * _WIDTH * 3, np.uint8)
    pixels[: len(data)] = list(data)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.reshape(_HEIGHT, _WIDTH, 3)).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder / f"{name}.png"


def page_set(folder: Path, count: int) -> tuple[tuple[PageRef, ...], tuple[ReferencePage, ...]]:
    """`count` pages, each a document of its own, with their references."""
    refs, references = [], []
    for i in range(count):
        text = f"page {i} of the set, " + "the quick brown fox jumps over the lazy dog. " * 4
        path = write_page(folder, f"p{i:03d}", text)
        ref = PageRef(
            id=f"set/p{i:03d}",
            set="set",
            document=f"d{i}",
            path=str(path),
            page_index=0,
            kind="image",
            text=text,
            profile="default",
            language="en",
        )
        refs.append(ref)
        references.append(
            ReferencePage(ref.id, ref.set, ref.document, text, ref.profile, ref.path, 0, ref.language)
        )
    return tuple(refs), tuple(references)
