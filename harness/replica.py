"""One worker process of a session, from the parent's side: a pipe each way, and how it ends."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_STDERR_TAIL_LINES = 20
_STDERR_TAIL_BYTES = 8192
_MAX_ANSWER_BYTES = 64 << 20


class Replica:
    """One worker process and the unread part of its answers. Side effect: its stderr goes to a file."""

    def __init__(
        self, command: Sequence[str], stderr: Path, process_group: int, environment: Mapping[str, str]
    ) -> None:
        with stderr.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=process_group,
                env=environment,
            )
        self.stderr = stderr
        self.window = 1
        self._buffer = b""
        os.set_blocking(self.answers.fileno(), False)

    @property
    def answers(self) -> IO[bytes]:
        """Where its JSON lines arrive."""
        assert self.process.stdout is not None  # noqa: S101  it was asked for
        return self.process.stdout

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; one that has died does not hear it."""
        assert self.process.stdin is not None  # noqa: S101  it was asked for
        with contextlib.suppress(BrokenPipeError):  # its death is noticed where its answers end
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> list[dict[str, Any]] | None:
        """Whole messages that have arrived; None once the worker has gone, or no longer keeps to the protocol."""
        chunk = os.read(self.answers.fileno(), 1 << 20)
        if not chunk:
            return None
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        if len(self._buffer) > _MAX_ANSWER_BYTES:
            return None
        return [json.loads(line) for line in lines]

    def stderr_tail(self) -> tuple[str, ...]:
        """The last lines of what it printed."""
        with self.stderr.open("rb") as log:
            log.seek(max(0, self.stderr.stat().st_size - _STDERR_TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
        return tuple(text.splitlines()[-_STDERR_TAIL_LINES:])

    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None if it runs. It is not reaped, so its number stays."""
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def peak_rss_mib(self) -> float | None:
        """Its largest resident set so far, in MiB; None where the kernel does not say."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return None
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found.group(1)) / 1024 if found else None
