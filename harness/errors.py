"""Errors that end a command.

    UserError        bad usage or bad input: one sentence with cause and remedy, exit 2

Everything else that escapes is a fault of the program: a traceback, exit 70. A variant that fails is not an
error but a value, `harness.values.Failure`.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend. The message says what is wrong, where, and what to do."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest known one."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}."
    return UserError(f"unknown {kind} {name!r}: {hint}")
