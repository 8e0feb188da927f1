"""Ground truth of real pages, and what a poor engine would have made of it."""

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

DATA = Path(__file__).parents[4] / "shared" / "data"
CONFUSIONS = {
    "e": "c",
    "rn": "m",
    "l": "1",
    "o": "0",
    "ü": "u",
    "，": ",",
    "ー": "一",
    "-": "—",
    "ſ": "f",
    "и": "н",
}


def misread(text: str, rng: random.Random) -> str:
    """Confused, dropped and invented characters, lost spaces and line breaks; about one in fifteen."""
    out = []
    for char in text:
        luck = rng.random()
        if luck < 0.03:
            out.append(CONFUSIONS.get(char, "x"))
        elif luck < 0.04:
            out.append(char + rng.choice([" ", "\n", "\u00a0 ", "e\u0301", "’", "ﬁ"]))
        elif luck > 0.025 + 0.94:
            continue
        else:
            out.append(char)
    return "".join(out)


@pytest.fixture(scope="session")
def real_pages() -> Mapping[str, Sequence[tuple[str, str]]]:
    """By set: (ground truth, misread text) of each page."""
    if not DATA.is_dir():
        assert not os.environ.get("CI"), f"{DATA} must be there in CI"
        pytest.skip(f"{DATA} is not there")
    rng = random.Random(7)
    sets = {}
    for folder in sorted(path for path in DATA.iterdir() if path.is_dir()):
        texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
        sets[folder.name] = [(text, misread(text, rng)) for text in texts]
    return sets
