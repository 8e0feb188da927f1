"""Numbers and text as people read them. `clean` is the only way for text of a study into the page."""

import math
import unicodedata

from harness.values import Interval

MINUS, NO_BREAK, DASH = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}", "\N{EN DASH}"
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{SOFT HYPHEN}"


def clean(text: str) -> str:
    """`text` with characters that act on a page rather than show on it made visible.

    C0 controls become control pictures, direction overrides and other format characters become `‹U+202E›`,
    lone surrogates and C1 controls become the replacement character. Newlines, tabs and the joiners that
    scripts need stay.
    """
    return "".join(map(_visible, text)) if not text.isascii() or not text.isprintable() else text


def _visible(char: str) -> str:
    if char in "\n\t" or char in _JOINERS:
        return char
    match unicodedata.category(char):
        case "Cc" if ord(char) < 0x20:
            return chr(0x2400 + ord(char))
        case "Cc" if ord(char) == 0x7F:
            return "\N{SYMBOL FOR DELETE}"
        case "Cc" | "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case "Cf" | "Zl" | "Zp":
            return f"‹U+{ord(char):04X}›"
        case _:
            return char


def shorten(text: str, limit: int) -> str:
    """`text`, cut to `limit` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits and no exponent: 0.312, 1.30, 12.4, 1,340; a dash for none."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(places, 6)}f}".replace("-", MINUS)


def percent(ratio: float | None) -> str:
    """A ratio as per cent: 0.0231 is `2.31 %`."""
    if ratio is None or not math.isfinite(ratio):
        return DASH
    return f"{ratio * 100:.2f}{NO_BREAK}%".replace("-", MINUS)


def points(difference: float | None) -> str:
    """A difference of two ratios in percentage points with its sign: 0.001 is `+0.10`."""
    if difference is None or not math.isfinite(difference):
        return DASH
    return f"{difference * 100:+.2f}".replace("-", MINUS)


def factor(ratio: float | None) -> str:
    """A ratio of speeds: `4.21×`."""
    return DASH if ratio is None or not math.isfinite(ratio) else f"{number(ratio)}×"


def duration(seconds: float) -> str:
    """Seconds as `48 s`, `9 min 58 s` or `2 h 5 min`."""
    if seconds < 9.95:
        return f"{number(seconds, 2)}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}{NO_BREAK}h {minutes_left}{NO_BREAK}min"
    return f"{minutes}{NO_BREAK}min {rest}{NO_BREAK}s" if minutes else f"{rest}{NO_BREAK}s"


def percent_range(interval: Interval) -> str:
    """The 95 % interval of a rate: `2.10 to 2.55 %`."""
    return f"{percent(interval.low).removesuffix(NO_BREAK + '%')} to {percent(interval.high)}"


def points_range(interval: Interval) -> str:
    """The 95 % interval of a difference, in percentage points."""
    return f"{points(interval.low)} to {points(interval.high)}"


def count(amount: int, noun: str) -> str:
    """`1 page`, `12 pages`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"
