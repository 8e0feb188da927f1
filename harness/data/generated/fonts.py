"""Fonts that come with Matplotlib, so that pages look the same on a machine without any fonts of its own."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont


@dataclass(frozen=True, slots=True)
class Family:
    """File names, without suffix, of one typeface."""

    regular: str
    bold: str
    italic: str


SANS = Family("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique")
SERIF = Family("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic")
TIMES = Family("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic")
MONO = Family("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique")


@cache
def font_folder() -> Path:
    """Matplotlib's font folder; Matplotlib itself is not imported."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib, whose fonts the generated pages use, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@cache
def font(name: str, size_px: float) -> ImageFont.FreeTypeFont:
    """A font by file name and em size in pixels, laid out in the one way that every Pillow has."""
    return ImageFont.truetype(font_folder() / f"{name}.ttf", size_px, layout_engine=ImageFont.Layout.BASIC)
