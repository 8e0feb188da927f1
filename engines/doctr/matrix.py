"""Which architectures of docTR torch.compile can do, as measured here beside what was published.

Each architecture runs in a process of its own, which prints what it has found so far as JSON lines: where it
crashes or overruns, its row has what came before and the reason. Support and numerics need no training, so
weights are random where there are none on this machine.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from engines import mindee
from engines.interface import UnsupportedError
from engines.mindee import Part

DEADLINE_S = 600
_PARTS: tuple[Part, ...] = ("detection", "recognition", "classification")
_CLAIMED_FULLGRAPH = ("vitstr", "parseq")
_PUBLISHED_FAILURE = "master"

Row = Mapping[str, object]


def compile_matrix(device: str) -> Iterator[Row]:
    """One row an architecture, as each is done, beside what the library's authors published.

    Times are in milliseconds unless named otherwise; `graph_breaks` and `recompilations` are those of
    torch.compile without fullgraph, the latter for a second batch size. Raises UnsupportedError where docTR is
    not installed.
    """
    if find_spec("doctr") is None:
        raise UnsupportedError(
            "the package python-doctr is not installed; run `pip install 'ocr-tune[doctr]'`"
        )
    for part in _PARTS:
        for name in mindee.architectures("doctr", part):
            yield _row(part, name, device)


def published(part: Part, name: str) -> dict[str, bool]:
    """What docTR's documentation says of this architecture."""
    return {
        "claimed_compiles": name != _PUBLISHED_FAILURE,
        "claimed_fullgraph": part == "recognition" and name.startswith(_CLAIMED_FULLGRAPH),
    }


def _row(part: Part, name: str, device: str) -> Row:
    command = [sys.executable, "-P", "-m", "engines.doctr.measure", part, name, device]
    row: dict[str, object] = {"part": part, "architecture": name, **published(part, name)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return row | _merged(out) | {"error": f"took longer than {DEADLINE_S} s"}
    row |= _merged(done.stdout)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        row["error"] = f"ended with {done.returncode}: {last}"
    return row


def _merged(lines: str) -> dict[str, object]:
    """What a process printed before it ended, of which the last line may be torn."""
    found: dict[str, object] = {}
    for line in lines.splitlines():
        try:
            found |= json.loads(line)
        except ValueError:
            continue
    return found
