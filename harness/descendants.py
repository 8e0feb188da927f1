"""Every process that a session has started, also one that left its process group: a server that a library starts.

An environment variable marks them: unlike a process group it stays with what calls setsid or loses its parent, and
only a program that empties its environment sheds it.
"""

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress

import psutil

_MARK = "OCR_TUNE_SESSION"
_PAUSE_S = 0.01


def marked() -> dict[str, str]:
    """A mark of its own for a session, to be put into the environment of what it starts."""
    return {_MARK: f"{os.getpid()}-{uuid.uuid4().hex}"}


def kill(mark: Mapping[str, str], within_s: float) -> None:
    """Kill all that carry the mark, and what they start meanwhile, for at most `within_s` seconds. Reaps none."""
    _kill(mark[_MARK], within_s)


def kill_all(within_s: float) -> None:
    """The same for the marks of all sessions of this process."""
    _kill(f"{os.getpid()}-", within_s)


def _kill(beginning: str, within_s: float) -> None:
    until = time.perf_counter() + within_s
    while (found := _carriers(beginning)) and time.perf_counter() < until:
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(_PAUSE_S)


def _carriers(beginning: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Those of other users cannot be read, and those that end meanwhile carry nothing.
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK, "").startswith(beginning):
                found.append(process)
    return found
