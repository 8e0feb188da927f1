"""One engine in a process of its own: the child's side of `harness.session`.

Started as `python -m harness.worker SPEC`. It reads JSON lines on stdin ({"deal": [page, ...]}, {"end": true}) and
answers with JSON lines on its first stdout; whatever a library prints goes to stderr instead. An end that says
"drop" comes where what was dealt and is not read yet is not wanted any more. The end of stdin ends the process, and
so does the death of its parent.
"""

import ctypes
import json
import os
import select
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from engines import registry
from engines.interface import OutOfMemoryError, PdfPage, StageTimer, UnsupportedError
from harness.data import Decoding, PageError, PageRef, open_page
from harness.pipeline import InvalidOutputError, Pipeline
from harness.values import FailureKind

_PR_SET_PDEATHSIG = 1


def main(spec_path: str, number: int) -> int:
    """Serve the engine and pages of the spec until stdin ends. Returns the exit status."""
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    answers = _take_stdout()
    _die_with_parent()
    _die_before_parent()
    cores = spec["cores"][number]
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    os.environ.update(spec["environment"])
    stage = "open"
    try:
        timer = StageTimer()
        engine = registry.load(spec["variant"]["engine"])
        settings = spec["variant"]["settings"]
        refs = [PageRef.from_json(page) for page in spec["pages"]]
        how = Decoding.of(settings)
        with engine.open(settings, spec["variant"]["device"], timer) as reader:
            pipeline = Pipeline.of(
                settings,
                reader=reader,
                timer=timer,
                page_ids=[ref.id for ref in refs],
                decode=lambda i: open_page(refs[i], how),
                page_error=PageError,
                pdfs={
                    i: PdfPage(ref.path, ref.page_index) for i, ref in enumerate(refs) if ref.kind == "pdf"
                },
            )
            _send(answers, {"ready": pipeline.window, "build_s": timer.take().get("build", 0.0)})
            stage = "read"
            commands = _Commands()
            while _serve_block(pipeline, timer, commands, answers):
                pass
    except UnsupportedError as error:
        return _fail(answers, FailureKind.UNSUPPORTED, stage, str(error))
    except (OutOfMemoryError, MemoryError) as error:
        return _fail(answers, FailureKind.OOM, stage, str(error) or "out of memory")
    except InvalidOutputError as error:
        return _fail(answers, FailureKind.INVALID_OUTPUT, stage, str(error))
    except Exception as error:  # noqa: BLE001  a process edge: whatever an engine raises becomes a value
        import traceback  # noqa: PLC0415  only where it is needed

        traceback.print_exc()
        return _fail(answers, FailureKind.CRASH, stage, f"{type(error).__name__}: {error}")
    return 0


class _Commands:
    """What the parent says. No thread reads it: one that waits on stdin would abort a process that ends."""

    def __init__(self) -> None:
        self._unread = b""
        self._waiting: deque[dict[str, Any]] = deque()

    def next(self) -> dict[str, Any] | None:
        """The next command, waited for; None once stdin has ended."""
        while not self._waiting:
            if not self._receive():
                return None
        return self._waiting.popleft()

    def dropped(self) -> bool:
        """Whether what was dealt is not wanted any more."""
        while select.select([0], [], [], 0)[0] and self._receive():
            pass
        return any(command.get("drop") for command in self._waiting)

    def _receive(self) -> bool:
        chunk = os.read(0, 1 << 16)
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        self._waiting += map(json.loads, lines)
        return bool(chunk)


def _serve_block(pipeline: Pipeline, timer: StageTimer, commands: _Commands, answers: IO[str]) -> bool:
    """Read dealt pages until the block ends; False once stdin has ended."""
    alive = dropped = False

    def dealt() -> Iterator[int]:
        nonlocal alive, dropped
        while command := commands.next():
            if "end" in command:
                alive, dropped = True, command.get("drop", False)
                return
            yield from command["deal"]

    pages = dealt()
    for index, record in pipeline.read(pages):
        _send(answers, {"page": index, "record": asdict(record)})
        if dropped or commands.dropped():
            break
    deque(pages, maxlen=0)  # up to the end of the block
    if alive:
        _send(answers, {"done": True, "facts": timer.facts()})
    return alive


def _take_stdout() -> IO[str]:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    return answers


def _die_with_parent() -> None:
    """A killed parent must not leave an engine behind that heats the machine for the next measurement."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_before_parent() -> None:
    """Where memory runs out, the kernel is to take the engine and not the process that keeps the results."""
    with suppress(OSError):  # not Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _send(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _fail(answers: IO[str], kind: FailureKind, stage: str, message: str) -> int:
    _send(answers, {"failed": {"kind": kind, "stage": stage, "message": message}})
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
