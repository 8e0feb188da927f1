"""One generated page from its kind, number and seed."""

import random
from collections.abc import Callable

from harness.data.generated.canvas import Canvas, Style
from harness.data.generated.content import Writer
from harness.data.generated.degrade import LEVELS, Encoded
from harness.data.generated.fonts import MONO, SANS, SERIF, TIMES, Family
from harness.data.generated.forms import form, invoice, receipt, table
from harness.data.generated.prose import article, letter

KINDS: dict[str, tuple[Callable[[Style, Writer], Canvas], tuple[Family, ...], tuple[float, float]]] = {
    "letter": (letter, (SERIF, TIMES, SANS, MONO), (10, 11.5)),
    "invoice": (invoice, (SANS, SERIF, TIMES), (9, 10)),
    "receipt": (receipt, (MONO, SANS), (8, 9)),
    "form": (form, (SANS, TIMES), (9.5, 11)),
    "article": (article, (TIMES, SERIF, SANS), (8.5, 10)),
    "table": (table, (SANS, TIMES, SERIF), (8.5, 10)),
}
"""Per kind: what lays it out, its typefaces, and the smallest and largest size of running text."""

_ACCENTS = ((24, 48, 96), (40, 40, 44), (120, 24, 32), (20, 84, 72))


def generate(kind: str, number: int, seed: int) -> Encoded:
    """Page `number` of a kind: an image file and its lines in reading order, each with its box on the image.

    The level of wear goes round with `number`: clean, scan, poor, photo. Equal arguments give equal bytes.
    """
    layout, families, (smallest, largest) = KINDS[kind]
    rng = random.Random(f"{seed}/{kind}/{number}")
    level = LEVELS[number % len(LEVELS)]
    size_pt = rng.uniform(smallest, largest)
    style = Style(rng.choice((150, 200)), rng.choice(families), size_pt, rng.choice(_ACCENTS))
    page = layout(style, Writer(rng))
    return level(page.image, page.lines, rng)
