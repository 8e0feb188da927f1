"""Normalisation profiles: which differences between two texts count.

A profile is applied to both sides and its name and version are stored with every result. Only what is listed
here is unified; NFKC as a whole would also equate "²" with "2", which is a recognition error.
Every profile is idempotent and ends in NFC.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import unknown

SOFT_HYPHEN = "\u00ad"
_QUOTES = {"'": "‘’‚‛‹›′`´ʼ", '"': "“”„‟«»″"}
_DASHES = {"-": "‐‑‒–—―−⸗﹘﹣"}
_LIGATURES = {
    "ﬀ": "ff",
    "ﬁ": "fi",
    "ﬂ": "fl",
    "ﬃ": "ffi",
    "ﬄ": "ffl",
    "ﬅ": "ſt",
    "ﬆ": "st",
    "ĳ": "ij",
    "Ĳ": "IJ",
}
# Full-width ASCII and half-width Katakana. The currency signs follow, without the macron, whose
# compatibility form starts with a space.
_WIDTH_FORMS = [*range(0xFF01, 0xFFA0), *range(0xFFE0, 0xFFE3), *range(0xFFE4, 0xFFE7)]


def _default_table() -> dict[int, str]:
    table = {point: unicodedata.normalize("NFKC", chr(point)) for point in _WIDTH_FORMS}
    for target, sources in (_QUOTES | _DASHES).items():
        table |= {ord(source): target for source in sources}
    table |= {ord(ligature): letters for ligature, letters in _LIGATURES.items()}
    # Forms that are reached by way of a width form, such as the full-width grave accent.
    table = {point: text.translate(table) for point, text in table.items()}
    return table | {ord(SOFT_HYPHEN): ""}


_DEFAULT_TABLE = _default_table()
# Long s; the combining small e that older German prints above vowels; r rotunda.
_HISTORIC_TABLE = {0x017F: "s", 0x0364: "\u0308", 0xA75B: "r", 0xA75A: "R"}
# A letter, a hyphen as printed or transcribed, the line end, a letter.
_LINE_END_HYPHEN = re.compile(r"(?<=([^\W\d_]))([-‐⸗¬\u00ad])[ \t]*\r?\n\s*(?=([^\W\d_]))")


# What Markdown adds to a text, and what takes its place. An asterisk, underscore or bar that was printed is lost on
# both sides: where an engine writes Markdown nobody can tell them from markup.
_MARKUP = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"!\[[^\]\n]*\]\([^)\n]*\)", ""),  # pictures
        (r"\[([^\]\n]*)\]\([^)\n]*\)", r"\1"),  # links
        (r"<br ?/?>", " "),
        (r"</?[A-Za-z][^<>\n]*>", ""),  # inline HTML, such as <sup>
        (r"^[ \t|:-]*--[ \t|:-]*$", ""),  # rules, and those below the heads of tables
        (r"^[ \t]*(?:#{1,6}|[>+•–—-])(?:[ \t]+|$)", ""),  # headings, quotations, items
        (r"\|", " "),  # cells
        (r"[*_`\\]", ""),  # emphasis, code, escapes
    )
)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _fold_whitespace(text: str) -> str:
    return " ".join(text.split())


def _join(match: re.Match[str]) -> str:
    """Nothing, or a hyphen where a capital follows a small letter: "Anglo-" and "Saxon" keep theirs."""
    before, hyphen, after = match.groups()
    return "-" if before.islower() and after.isupper() and hyphen != SOFT_HYPHEN else ""


def _unified(text: str) -> str:
    """NFC with line ends joined and look-alikes unified, whitespace untouched."""
    joined = _LINE_END_HYPHEN.sub(_join, _nfc(text))
    return _nfc(joined.translate(_DEFAULT_TABLE))


def _strict(text: str) -> str:
    return _fold_whitespace(_nfc(text))


def _default(text: str) -> str:
    return _fold_whitespace(_unified(text))


def _loose(text: str) -> str:
    folded = _nfc(_unified(text).casefold())
    bare = "".join(char for char in folded if not unicodedata.category(char).startswith("P"))
    return _fold_whitespace(_nfc(bare))


def _cjk(text: str) -> str:
    return _nfc("".join(_unified(text).split()))


def _historic(text: str) -> str:
    return _fold_whitespace(_nfc(_unified(text).translate(_HISTORIC_TABLE)))


def _markdown(text: str) -> str:
    # Markup may hide markup (an escaped entity, a heading in a quotation): every further pass makes the text shorter.
    while (bare := _default(_without_markup(text))) != text:
        text = bare
    return text


def _without_markup(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return html.unescape(text)


@dataclass(frozen=True, slots=True)
class Profile:
    """A named way to normalise text. `version` rises whenever the same text may come out differently."""

    name: str
    version: int
    help: str
    normalise: Callable[[str], str]
    has_words: bool = True
    """Without words there is no WER, and the bag of words is one of characters."""
    graphemes: bool = True
    """Whether characters are grapheme clusters; if not, they are code points."""


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "strict",
                1,
                "NFC, whitespace runs to one space; counts code points, so that other tools can check it",
                _strict,
                graphemes=False,
            ),
            Profile(
                "default",
                1,
                "strict, with quotes, dashes, Latin ligatures and full-width forms unified, soft hyphens "
                "dropped and end-of-line hyphens joined; counts grapheme clusters",
                _default,
            ),
            Profile("loose", 1, "default, without case and punctuation", _loose),
            Profile("cjk", 1, "default, without whitespace; no WER", _cjk, has_words=False),
            Profile(
                "historic", 1, "default, with long s, combining e and r rotunda in modern form", _historic
            ),
            Profile("markdown", 1, "default, without the markup of Markdown and HTML", _markdown),
        )
    }
)


def profile(name: str) -> Profile:
    """The profile of that name. Raises UserError with the nearest known name."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    return PROFILES[name]


def normalise(text: str, profile_name: str) -> str:
    """`text` as the profile sees it. Raises UserError for an unknown profile."""
    return profile(profile_name).normalise(text)
