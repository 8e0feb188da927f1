"""The process boundary: an engine in processes of its own, with deadlines, from the parent's side.

A session starts `replicas` workers in one process group, deals pages to whichever is free, at once or as they
arrive, and kills the whole group, and what has left it, when a deadline passes or the session closes. Everything
that crosses is a JSON line; a worker that dies is noticed by the end of its pipe. Failures are raised as
`TrialFailedError`, which carries the value.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from engines.interface import Machine
from harness import descendants, environments
from harness.acting import refuse_copying
from harness.counters import CounterSampler
from harness.data import PageRef
from harness.dealing import Dealing
from harness.energy import EnergyMeter
from harness.replica import Replica
from harness.serving import Serving
from harness.values import Block, CounterSample, Fact, Failure, FailureKind, Measurement, PageRecord, Variant

_GRACE_S = 3.0
_TOO_LATE = "still running at its deadline, so it was killed"
_RECORD = TypeAdapter(PageRecord)


class TrialFailedError(Exception):
    """The session ended without what was asked of it; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def core_shares(cores: Sequence[int], replicas: int) -> list[list[int]]:
    """The cores of each replica: contiguous shares, as equal as possible; spare replicas take turns."""
    if replicas >= len(cores):
        return [[cores[i % len(cores)]] for i in range(replicas)]
    edges = [round(i * len(cores) / replicas) for i in range(replicas + 1)]
    return [list(cores[low:high]) for low, high in pairwise(edges)]


class Session:
    """One variant, opened and warm, ready to read blocks of pages. Use as a context manager.

    `interpreter` is the Python of another environment whose build is to be measured, None for this one.
    Raises UserError where the settings would take the ground truth of the pages for the answer.
    Side effect: writes the spec and the workers' stderr into `folder`.
    """

    def __init__(
        self,
        variant: Variant,
        pages: Sequence[PageRef],
        folder: Path,
        machine: Machine,
        *,
        sample_counters: bool = True,
        interpreter: Path | None = None,
    ) -> None:
        self._interpreter = interpreter
        self._mark = descendants.marked()
        self._machine = machine
        self._sample_counters = sample_counters
        self._folder = folder
        self._page_ids = [page.id for page in pages]
        self._engine = variant.engine
        self._energy = EnergyMeter(variant.device, machine)
        self._replicas = int(variant.settings.get("replicas", 1))
        self._pages_per_call = int(variant.settings.get("pages_per_call", 1))
        self._workers: list[Replica] = []
        self._blocks: list[Block] = []
        self._cold_start_s = 0.0
        self._build_s = 0.0
        self._cold_facts: dict[int, dict[str, float]] = {}
        self._facts: dict[int, dict[str, float]] = {}
        self._sampler: CounterSampler | None = None
        self._samples: tuple[CounterSample, ...] = ()
        self._absent: dict[str, str] = {}
        refuse_copying(variant.settings, pages)
        folder.mkdir(parents=True, exist_ok=True)
        pinned = bool(variant.settings.get("pin", False))
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        spec = {
            "variant": {
                "engine": variant.engine,
                "device": variant.device,
                "settings": dict(variant.settings),
            },
            "pages": [replace(page, text=None, boxes=()).to_json() for page in pages],
            "cores": core_shares(cores, self._replicas) if pinned and cores else [[]] * self._replicas,
            "environment": {"PYTHONFAULTHANDLER": "1"},
        }
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, warmup: Sequence[int], deadline_s: float) -> None:
        """Load the engine in every replica and let each read the pages of `warmup`.

        `deadline_s` is the time allowed, in seconds. Raises TrialFailedError.
        """
        began = time.perf_counter()
        spec = str(self._folder / "spec.json")
        for number in range(self._replicas):
            group = self._workers[0].process.pid if self._workers else 0
            command = environments.command(
                self._engine, "harness.worker", spec, str(number), python=self._interpreter
            )
            stderr = self._folder / f"stderr-{number}.log"
            try:
                self._workers.append(Replica(command, stderr, group, self._environment()))
            except OSError as error:
                if not self._workers:
                    message = f"the worker cannot be started with {command[0]}: {error.strerror}"
                    raise TrialFailedError(Failure(FailureKind.UNSUPPORTED, "open", message)) from error
                if self._workers[0].exit_code() is not None:  # and its process group has ended with it
                    self._raise_death(self._workers[0], "open")
                message = f"replica {number + 1} of {self._replicas} cannot be started: {error.strerror}"
                self._fail(FailureKind.CRASH, "open", message)
        if self._sample_counters:
            self._sampler = CounterSampler(self._workers[0].process.pid, self._machine)
            self._sampler.__enter__()
        self._collect(None, began + deadline_s, "open")
        self._warm_up(warmup, began + deadline_s)
        self._cold_start_s = time.perf_counter() - began
        self._cold_facts = dict(self._facts)

    def _warm_up(self, pages: Sequence[int], deadline: float) -> None:
        # A page that cannot be read says nothing of the engine: the next one then warms it up.
        others = [page for page in range(len(self._page_ids)) if page not in pages][: len(pages)] or pages
        for some in (pages, others):
            dealing = Dealing(self._workers, [deque(some) for _ in self._workers])
            records = self._collect(dealing, deadline, "warm-up")
            if not records or any(record.error is None for _, record in records):
                return
        self._refuse_all_errors((record for _, record in records), "warm-up", least=1)

    def read(self, indices: Sequence[int], deadline_s: float, *, refill: bool = True) -> Block:
        """Read pages, shared among the replicas; records come in the order of `indices`.

        `deadline_s` is the time allowed, in seconds. With `refill` no replica pauses while others read the last
        pages, as none does in a long queue (`harness.dealing`). Raises TrialFailedError.
        """
        began = self._begin()
        queue = deque(indices)
        dealing = Dealing(
            self._workers,
            [queue] * len(self._workers),
            call=self._pages_per_call,
            refill=refill and len(self._workers) > 1,
        )
        by_page = dict(self._collect(dealing, began + deadline_s, "read", began))
        return self._keep(began, [(index, by_page[index]) for index in indices], dealing)

    def serve(
        self,
        indices: Sequence[int],
        arrivals_s: Sequence[float],
        deadline_s: float,
        enough: Callable[[float], bool] = lambda _: False,
    ) -> Block:
        """Read each page when it arrives, at `arrivals_s` seconds after the call, in ascending order.

        A page's `seconds` run from its scheduled arrival to its text, however late anyone took it up: a reader
        that falls behind must not slow its own questions down (coordinated omission). A free replica takes what
        has arrived, up to its window, and never waits for more. `deadline_s` is the time allowed after the last
        arrival, in seconds. `enough` hears each latency, in seconds, and may end the block early: what has not
        been taken up is then left out. Raises TrialFailedError.
        """
        began = self._begin()
        deadline = began + (arrivals_s[-1] if arrivals_s else 0.0) + deadline_s
        return self._keep(began, self._serve(indices, arrivals_s, deadline, enough))

    def read_singly(self, indices: Sequence[int], deadline_s: float) -> Block:
        """Read one page at a time, the next when the last is done. Raises TrialFailedError."""
        began = self._begin()
        records: list[tuple[int, PageRecord]] = []
        for index in indices:
            offset_s = time.perf_counter() - began
            for page, record in self._serve([index], [0.0], began + deadline_s):
                records.append((page, replace(record, done_s=offset_s + record.done_s)))
        return self._keep(began, records)

    def _begin(self) -> float:
        self._energy.start()
        return time.perf_counter()

    def _keep(
        self, began: float, records: Sequence[tuple[int, PageRecord]], dealing: Dealing | None = None
    ) -> Block:
        wall_s, spare_s, energy_j = time.perf_counter() - began, 0.0, self._energy.stop()
        if dealing:
            wall_s = max(record.done_s for _, record in records)
            spare_s = dealing.spare_s(wall_s)
            energy_j = None if dealing.refill else energy_j
        block = Block(tuple(record for _, record in records), wall_s, energy_j, spare_s)
        self._blocks.append(block)
        # One page that cannot be read is an empty output, not the end of a trial whose blocks are single pages.
        read = (record for earlier in self._blocks for record in earlier.pages)
        self._refuse_all_errors(read, "read", least=min(2, len(self._page_ids)))
        return block

    def _serve(
        self,
        indices: Sequence[int],
        arrivals_s: Sequence[float],
        deadline: float,
        enough: Callable[[float], bool] = lambda _: False,
    ) -> list[tuple[int, PageRecord]]:
        served = Serving(self._workers, indices, arrivals_s)
        began = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            while (next_s := served.deal(time.perf_counter() - began)) is not None:
                ready = selector.select(max(0.0, min(began + next_s, deadline) - time.perf_counter()))
                if not ready and time.perf_counter() >= deadline:
                    self.kill()
                    self._fail(FailureKind.TIMEOUT, "read", _TOO_LATE)
                for key, _ in ready:
                    for message in self._messages(key.data, "read"):
                        if "page" not in message:
                            served.free(key.data)
                            continue
                        record = self._record(message["record"], key.data, "read")
                        done_s = time.perf_counter() - began
                        if enough(served.answered(key.data, message["page"], record, done_s)):
                            served.stop()
        return served.records

    def close(self) -> None:
        """End the workers, gently where they listen, and kill what is left of what they started."""
        if self._sampler is not None:
            self._sampler.__exit__(None, None, None)
            self._samples, self._absent = self._sampler.samples, dict(self._sampler.absent)
            self._sampler = None
        if not self._workers:
            return
        for worker in self._workers:
            if worker.process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    worker.process.stdin.close()
        until = time.perf_counter() + _GRACE_S
        # Followers first: the group's number stays ours as long as its leader has not been waited for.
        for worker in self._workers[1:]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, until - time.perf_counter()))
        self._ended(self._workers[0], until)
        self.kill()
        for worker in self._workers:
            worker.process.wait()
            worker.answers.close()
        self._workers = []

    def kill(self) -> None:
        """Kill the whole process group at once, then what has left it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._workers[0].process.pid, signal.SIGKILL)
        descendants.kill(self._mark, _GRACE_S)

    def peak_rss_mib(self) -> float | None:
        """The sum of the replicas' largest resident sets so far, in MiB; None where the kernel does not say."""
        peaks = [worker.peak_rss_mib() for worker in self._workers]
        known = [peak for peak in peaks if peak is not None]
        return sum(known) if known and len(known) == len(peaks) else None

    def _environment(self) -> dict[str, str]:
        # Modules of this environment on PYTHONPATH would hide those of another.
        hidden = {"PYTHONPATH"} if self._interpreter else set()
        return {name: value for name, value in os.environ.items() if name not in hidden} | self._mark

    def measurement(self) -> Measurement:
        """What was measured so far. Counters are complete once the session is closed."""
        return Measurement(
            self._cold_start_s,
            tuple(self._blocks),
            self._samples,
            self._absent,
            build_s=self._build_s,
            facts=_facts(self._cold_facts, self._facts),
        )

    def _refuse_all_errors(self, records: Iterable[PageRecord], stage: str, *, least: int) -> None:
        """Fail where at least so many different pages were tried and none could be read."""
        failed: dict[str, str] = {}
        for record in records:
            if record.error is None:
                return
            failed[record.page_id] = record.error
        if len(failed) >= least:
            first = next(iter(failed.values()))
            kind = FailureKind.OOM if "out of memory" in first else FailureKind.CRASH
            self._fail(kind, stage, f"every page failed: {first}")

    def _collect(
        self, dealing: Dealing | None, deadline: float, stage: str, began: float = 0.0
    ) -> list[tuple[int, PageRecord]]:
        """Gather what the replicas read until all are done; without any pages, until all are ready."""
        records: list[tuple[int, PageRecord]] = []
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.perf_counter()))
                if not ready:
                    self.kill()
                    self._fail(FailureKind.TIMEOUT, stage, _TOO_LATE)
                for key, _ in ready:
                    worker = key.data
                    for message in self._messages(worker, stage):
                        if dealing and "page" in message:
                            now_s = time.perf_counter() - began
                            if dealing.answered(worker, message["page"], now_s):
                                record = self._record({**message["record"], "done_s": now_s}, worker, stage)
                                records.append((message["page"], record))
                        else:
                            worker.window = message.get("ready", worker.window)
                            self._build_s = max(self._build_s, message.get("build_s", 0.0))
                            self._facts[self._workers.index(worker)] = message.get("facts", {})
                            selector.unregister(worker.answers)
        return records

    def _record(self, record: dict[str, Any], worker: Replica, stage: str) -> PageRecord:
        try:
            found = _RECORD.validate_python(record)
            return replace(
                found, lines=tuple(replace(line, text=_well_formed(line.text)) for line in found.lines)
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(str(part) for part in wrong["loc"])
            message = f"the engine returned {where} of a wrong type: {wrong['msg']}"
            self._fail(FailureKind.INVALID_OUTPUT, stage, message, worker)

    def _messages(self, worker: Replica, stage: str) -> list[dict[str, Any]]:
        messages = worker.receive()
        if messages is None:
            self._raise_death(worker, stage)
        for message in messages:
            if failed := message.get("failed"):
                self._fail(FailureKind(failed["kind"]), failed["stage"], failed["message"], worker)
        return messages

    def _fail(self, kind: FailureKind, stage: str, message: str, worker: Replica | None = None) -> NoReturn:
        tail = (worker or self._workers[0]).stderr_tail()
        raise TrialFailedError(Failure(kind, stage, _well_formed(message), tail))

    def _ended(self, worker: Replica, until: float) -> int | None:
        """How a worker has ended, waiting for it until then; None where it still runs."""
        while (code := worker.exit_code()) is None and time.perf_counter() < until:
            time.sleep(0.01)
        return code

    def _raise_death(self, worker: Replica, stage: str) -> NoReturn:
        code = self._ended(worker, time.perf_counter() + _GRACE_S)
        if code is None:
            message = "the process closed its pipe or sent a line without end, and went on running"
            self._fail(FailureKind.INVALID_OUTPUT, stage, message, worker)
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        killed = code == -signal.SIGKILL
        message = f"the process died of {name}" + (
            ", as the kernel does when memory runs out" if killed else ""
        )
        self._fail(FailureKind.OOM if killed else FailureKind.CRASH, stage, message, worker)


def _facts(
    cold: Mapping[int, Mapping[str, float]], now: Mapping[int, Mapping[str, float]]
) -> dict[str, Fact]:
    """Totals by replica, then and now, as what was counted before and since."""

    def before(replica: int, name: str) -> float:
        return cold.get(replica, {}).get(name, 0.0)

    replicas = sorted(now)
    return {
        name: Fact(
            tuple(before(replica, name) for replica in replicas),
            tuple(now[replica].get(name, 0.0) - before(replica, name) for replica in replicas),
        )
        for name in sorted({name for totals in now.values() for name in totals})
    }


def _well_formed(text: str) -> str:
    """The text with lone surrogates, which no file can hold, as replacement characters."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
