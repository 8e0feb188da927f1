"""Arguments as users write them. Light, for it is imported before any command is."""

import re
from collections.abc import Sequence

from cyclopts import Token

from harness.errors import UserError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def seconds(_type: object, tokens: Sequence[Token]) -> float:
    """A duration such as 90s, 10m, 1h30m or a number of seconds. Raises UserError."""
    text = tokens[0].value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    elif _DURATION.fullmatch(text):
        total = sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text))
    else:
        raise UserError(f"{text!r} is not a duration: write 90s, 10m, 2h or 1h30m")
    if total <= 0:
        raise UserError("a duration of 0 leaves no time to measure anything")
    return total
