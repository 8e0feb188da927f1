"""`tune`, also installed as `ocr-tune`: the commands, and what becomes of errors.

Commands are imported when they are called, so that help is at hand at once.
"""

import errno
import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import NoReturn

from cyclopts import App
from cyclopts.exceptions import CycloptsError, UnusedCliTokensError
from rich.console import Console
from rich.markup import escape

from harness.cli.tune import tune
from harness.errors import UserError, unknown

BAD_INPUT = 2
FAULT = 70
INTERRUPTED = 130
_FINALIZED_S = 0.05
"""Long enough for the object that was being finalized to be gone."""
_OF_THE_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "the file system is read-only",
    errno.EDQUOT: "the disk quota is used up",
}

app = App(
    name="tune",
    help="Finds, proves and guards the fastest accurate settings of an OCR engine on this machine.",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
)
_COMMANDS = {
    "bench": "Measure one variant: throughput, latency, accuracy, stages, counters.",
    "compare": "Measure two variants side by side: which is faster, and what it costs in accuracy.",
    "check": "Regression gate: the pinned good config and build beside the current ones.",
    "phases": "Measure a ladder of published techniques, claimed beside measured.",
    "profile": "Where the time goes: stages, layers, Python functions, a trace for TensorBoard.",
    "report": "Write the HTML page of one or more runs.",
    "export": "Print a tuned config in another program's format.",
    "doctor": "What this machine has, what is missing, how noisy it is, and what to do.",
    "engines": "Which engines are installed and usable here, and what can be set on them.",
    "data": "List, check, fetch and preview data sets.",
}
app.default(tune)
for _name, _help in _COMMANDS.items():
    app.command(f"harness.cli.{_name}:{_name}", name=_name, help=_help)


def main() -> NoReturn:
    """Run a command and exit: 0, 1 and 3 are its own answers; 2 bad input, 70 a fault, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.unraisablehook = _interrupt_again
    # CUDA's own order is fastest first: `cuda:0` must be the GPU whose counters NVML reads.
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command. Returns its exit status."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        return _refuse("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  the other process edge: a fault must leave its traceback and its status
        sentence = _sentence(error)
        return _fault() if sentence is None else _refuse(sentence)
    return result if isinstance(result, int) else 0


def _sentence(error: Exception) -> str | None:
    """What to tell the user of an error that is theirs to mend; None for a fault of the program."""
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return str(unknown("command", error.unused_tokens[0], _COMMANDS))
    if isinstance(error, CycloptsError):
        return " ".join(str(error).split()) + " See `tune --help`."
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = f" ({error.filename})" if error.filename else ""
        return f"{_OF_THE_DISK[error.errno]}{where}; make room or choose another folder with --out"
    return _of_sqlite(error)


def _of_sqlite(error: BaseException) -> str | None:
    """What is wrong with the study's database: Optuna raises errors of its own from SQLAlchemy's from SQLite's."""
    import sqlite3

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, sqlite3.OperationalError):
        cause = cause.__cause__
    if cause is None:
        return None
    wrong = {
        sqlite3.SQLITE_FULL: _OF_THE_DISK[errno.ENOSPC],
        sqlite3.SQLITE_READONLY: "the study's database cannot be written",
        sqlite3.SQLITE_CANTOPEN: "the study's database cannot be opened",
        sqlite3.SQLITE_IOERR: "the study's database cannot be read or written",
    }
    # The low byte is the kind of error, the rest its detail: https://sqlite.org/rescode.html
    kind = wrong.get(cause.sqlite_errorcode & 0xFF)
    return kind and f"{kind}; make room or choose another folder with --out"


def _refuse(sentence: str, status: int = BAD_INPUT) -> int:
    Console(stderr=True).print(f"[bold red]tune:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    return status


def _fault() -> int:
    traceback.print_exc()
    sys.stderr.write("tune: this is a fault of the program; please report it with the lines above\n")
    return FAULT


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _interrupt_again(lost: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised while an object is finalized, also the wish to stop: it is uttered once more."""
    if lost.exc_type is KeyboardInterrupt:
        main_thread = threading.main_thread().ident or 0
        threading.Timer(_FINALIZED_S, signal.pthread_kill, (main_thread, signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(lost)
