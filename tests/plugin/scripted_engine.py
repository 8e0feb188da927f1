"""An engine whose speed, accuracy and faults are settings, as a third-party package would bring it.

It reads pages whose pixels hold their text as UTF-8 bytes (`tests.pages.write_page`).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from engines.interface import (
    Choice,
    Knob,
    Line,
    Machine,
    Ordered,
    OutOfMemoryError,
    Page,
    PageText,
    Reader,
    Settings,
    StageTimer,
    UnsupportedError,
)

FAULTS = (
    "none",
    "unsupported",
    "raise_on_open",
    "raise_on_read",
    "segfault",
    "closes_pipes",
    "killed",
    "hang",
    "hang_on_open",
    "one_text_too_few",
    "wrong_type",
    "grandchild",
    "server",
    "server_and_hang",
    "chatter",
    "spins",
    "leaks",
    "other_pages",
    "empty",
    "surrogate",
    "needs_small_calls",
    "always_out_of_memory",
)

HANGS = "this page hangs"
"""The text of a page that is never read to the end."""
BUILD_S = 0.125
"""What it says that it spent on making models; it makes none."""


def summary() -> str:
    return "A scripted engine for tests; Apache-2.0."


def packages() -> tuple[str, ...]:
    return ("scripted-engine",)


def unusable(machine: Machine) -> str | None:
    return None


def knobs(machine: Machine) -> tuple[Knob, ...]:
    return (
        Knob("fault", "recognise", Choice(FAULTS), "none", "what goes wrong"),
        Knob("page_ms", "recognise", Ordered((5, 10, 20, 40, 80), high=10_000), 80, "milliseconds a page"),
        Knob(
            "garbled_pct",
            "recognise",
            Ordered((0, 1, 10), high=100),
            0,
            "characters replaced by #",
            changes_text=True,
        ),
        Knob(
            "boost",
            "recognise",
            Choice((False, True)),
            False,
            "halve the time of slow pages",
            when={"page_ms": (40, 80)},
        ),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator[Reader]:
    fault = str(settings["fault"])
    if fault == "unsupported":
        raise UnsupportedError("this setting needs hardware that is not here; choose fault=none")
    if fault == "raise_on_open":
        raise RuntimeError("no such model")
    if fault == "hang_on_open":
        time.sleep(3600)
    timer.add("build", BUILD_S)
    if fault == "chatter":
        print('{"page": 0, "record": "not ours"}', flush=True)
        os.write(1, b"straight to descriptor 1\n")
    if fault == "grandchild":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    if fault in {"server", "server_and_hang"}:
        _start_server()
    yield _Reader(settings, timer)


def _start_server() -> None:
    """A process in a session of its own whose parent has gone, as servers are started that shall outlive it."""
    detached = "import os; os.fork() and os._exit(0); os.setsid(); import time; time.sleep(3601)"
    subprocess.run([sys.executable, "-c", detached], stdout=subprocess.DEVNULL, check=True)


class _Reader:
    def __init__(self, settings: Settings, timer: StageTimer) -> None:
        self._settings = settings
        self._timer = timer
        self._fault = str(settings["fault"])
        self._pages = 0
        self._held = [""]
        timer.watch(lambda: {"pages_read": self._pages})

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        self._misbehave(pages)
        self._pages += len(pages)
        factor = 0.5 if self._settings.get("boost") else 1.0
        seconds = factor * float(self._settings["page_ms"]) / 1000 * len(pages)
        with self._timer.stage("recognise"):
            if self._fault == "spins":
                _spin(seconds)
            else:
                time.sleep(seconds)
        if self._fault == "empty":
            return [PageText(()) for _ in pages]
        own = [_text(page) for page in pages]
        if HANGS in own:
            time.sleep(3600)
        if self._fault == "surrogate":
            own = [f"{text}\ud800" for text in own]
        if self._fault == "other_pages":
            own, self._held = [*self._held, *own[:-1]], own[-1:]
        texts = [PageText((Line(self._garbled(text), None, 1.0),)) for text in own]
        return texts[1:] if self._fault == "one_text_too_few" else texts

    def _misbehave(self, pages: Sequence[Page]) -> None:
        if self._fault == "raise_on_read":
            raise ValueError("cannot read this [/here]")
        if self._fault == "segfault":
            ctypes.string_at(0)
        if self._fault == "closes_pipes":
            os.closerange(3, 256)
            os.close(1)
            time.sleep(3600)
        if self._fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault in {"hang", "server_and_hang"}:
            time.sleep(3600)
        leaked = []
        while self._fault == "leaks":
            leaked.append(b"x" * (16 << 20))
        if self._fault == "wrong_type":
            self._garbled = lambda text: None  # type: ignore[method-assign,assignment,return-value]
        if self._fault == "always_out_of_memory" or (self._fault == "needs_small_calls" and len(pages) > 2):
            raise OutOfMemoryError(f"{len(pages)} pages do not fit")

    def _garbled(self, text: str) -> str:
        every = int(self._settings["garbled_pct"])
        return "".join("#" if every and i % 100 < every else c for i, c in enumerate(text))


def _spin(seconds: float) -> None:
    """Use so much time of a core, however long others make that take."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def _text(page: Page) -> str:
    data = page.pixels.tobytes()
    return data[: data.index(0)].decode() if 0 in data else data.decode()
