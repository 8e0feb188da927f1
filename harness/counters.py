"""Counters of a trial, sampled from outside: the process group, the cores and the GPUs.

A counter that cannot be read is absent, with the reason, and never zero. Names end in their unit, those in
`_per_s` are rates since the sample before. Processor time, memory, faults and the GPU's fast counters are in
every sample; what is dear to read or slow to change (IO, switches, cores, frequencies, PCIe, ...) is in about
one sample a second, and processes that join the group are noticed as often.

`rss_mib` is the sum over the group's processes: what replicas share counts once for each.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import psutil

from engines.interface import Machine
from harness import nvml
from harness.values import CounterSample

_MIB = 2**20
_SLOW_EVERY_S = 1.0
_MOST_FREQUENCIES = 16
"""Cores whose frequency is read: each read may interrupt its core."""
_PROC = Path("/proc")
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has used since it started."""

    cpu_s: float
    rss_mib: float
    threads: int
    minor_faults: int | None
    major_faults: int | None
    read_mib: float | None = None
    """From storage, the page cache left out. From here on, None stands for not read."""
    write_mib: float | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None


class Process(Protocol):
    """A process of the group."""

    def usage(self, *, slow: bool) -> Usage | None:
        """What it has used so far; None once it has ended. IO and context switches only where `slow`."""
        ...

    def close(self) -> None:
        """Release what was held for reading."""
        ...


class LinuxProcess:
    """Reads /proc directly, through files that stay open: a fifth of the cost of psutil."""

    _TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    _PAGE_MIB = (os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096) / _MIB

    def __init__(self, pid: int) -> None:
        """Raises OSError where the process has ended."""
        self._folder = f"/proc/{pid}"
        self._stat = os.open(f"{self._folder}/stat", os.O_RDONLY)
        self._io = _open_or_none(f"{self._folder}/io")

    def usage(self, *, slow: bool) -> Usage | None:
        """What it has used so far; None once it has ended."""
        try:
            # The name, in parentheses, may hold spaces; state is the first field after it.
            fields = os.pread(self._stat, 1024, 0).rpartition(b")")[2].split()
        except OSError:
            return None
        if not fields or fields[0] in b"ZX":
            return None
        read_mib, write_mib = self._read_io() if slow else (None, None)
        voluntary, involuntary = self._switches() if slow else (None, None)
        return Usage(
            cpu_s=(int(fields[11]) + int(fields[12])) / self._TICKS,
            rss_mib=int(fields[21]) * self._PAGE_MIB,
            threads=int(fields[17]),
            minor_faults=int(fields[7]),
            major_faults=int(fields[9]),
            read_mib=read_mib,
            write_mib=write_mib,
            voluntary_switches=voluntary,
            involuntary_switches=involuntary,
        )

    def close(self) -> None:
        """Close the files."""
        os.close(self._stat)
        if self._io is not None:
            os.close(self._io)

    def _read_io(self) -> tuple[float | None, float | None]:
        if self._io is None:
            return None, None
        try:
            words = os.pread(self._io, 512, 0).split()
        except OSError:  # ended since, or belongs to another user
            return None, None
        return int(words[9]) / _MIB, int(words[11]) / _MIB

    def _switches(self) -> tuple[int | None, int | None]:
        """Sums over the living threads: /proc/PID/status speaks of the main thread alone."""
        voluntary = involuntary = 0
        try:
            for thread in os.listdir(f"{self._folder}/task"):  # noqa: PTH208  strings are enough, and cheaper
                words = _read(f"{self._folder}/task/{thread}/status").split()
                voluntary, involuntary = voluntary + int(words[-3]), involuntary + int(words[-1])
        except (OSError, IndexError):
            return None, None
        return voluntary, involuntary


class OtherProcess:
    """Reads through psutil, for systems without /proc."""

    def __init__(self, pid: int) -> None:
        """Raises OSError where the process has ended."""
        try:
            self._process = psutil.Process(pid)
        except psutil.Error as error:
            raise ProcessLookupError(pid) from error

    def usage(self, *, slow: bool) -> Usage | None:
        """What it has used so far; None once it has ended."""
        try:
            with self._process.oneshot():
                times, memory = self._process.cpu_times(), self._process.memory_info()
                return Usage(
                    cpu_s=times.user + times.system,
                    rss_mib=memory.rss / _MIB,
                    threads=self._process.num_threads(),
                    minor_faults=getattr(memory, "pfaults", None),
                    major_faults=getattr(memory, "pageins", None),
                )
        except psutil.Error:
            return None

    def close(self) -> None:
        """Nothing is held."""


class CounterSampler:
    """Samples a process group and its machine in a thread, between entering and leaving the context.

    Enter it as soon as the group's first process has started. Samples may be read at any time.
    """

    def __init__(self, pgid: int, machine: Machine, hz: float = 10.0) -> None:
        self._group = _Group(pgid)
        self._host = _Host()
        library = nvml.library() if machine.gpus else None
        handles = nvml.handles(library) if library else []
        self._gpus = [nvml.GpuCounters(library, handles[gpu.index], gpu.index) for gpu in machine.gpus]
        self._interval_s = 1 / hz
        self._samples: list[CounterSample] = []
        self._absent: dict[str, str] = {} if machine.gpus else {"gpu0_util_pct": nvml.absence() or "no GPU"}
        self._cpu_s = 0.0
        # Released at the end. Waiting for an Event would cost more than a sample of a small group.
        self._running = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="counters", daemon=True)

    def __enter__(self) -> "CounterSampler":
        self._running.acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.release()
        self._thread.join()

    @property
    def samples(self) -> tuple[CounterSample, ...]:
        """All samples so far, in order."""
        return tuple(self._samples)

    @property
    def absent(self) -> dict[str, str]:
        """Counters that could not be read, with the reason."""
        parts = [self._absent, self._group.absent, self._host.absent, *(gpu.absent for gpu in self._gpus)]
        return {name: reason for part in parts for name, reason in part.items()}

    @property
    def cpu_s(self) -> float:
        """Processor time that sampling itself has cost, in seconds."""
        return self._cpu_s

    def _run(self) -> None:
        start = time.perf_counter()
        due, slow_due = start, start
        try:
            while not self._running.acquire(timeout=max(0.0, due - time.perf_counter())):
                now = time.perf_counter()
                slow = now >= slow_due
                if slow:
                    slow_due = now + _SLOW_EVERY_S - self._interval_s / 2
                self._samples.append(CounterSample(now - start, self._read(now, slow=slow)))
                self._cpu_s = time.thread_time()
                due = max(due + self._interval_s, time.perf_counter())
        finally:
            self._group.close()
            for gpu in self._gpus:
                gpu.close()

    def _read(self, now: float, *, slow: bool) -> dict[str, float]:
        values = self._group.read(now, slow=slow)
        if slow:
            values |= self._host.read()
        for gpu in self._gpus:
            values |= gpu.read(slow=slow)
        return values


class _Group:
    """The processes of one group and what they use together."""

    def __init__(self, pgid: int) -> None:
        self._pgid = pgid
        self._open = LinuxProcess if sys.platform == "linux" else OtherProcess
        self._processes: dict[int, Process] = {}
        self._before: dict[int, Usage] = {}
        self._slow_before: dict[int, Usage] = {}
        self._at: float | None = None
        self._slow_at: float | None = None
        self._seen: set[str] = set()
        self.absent: dict[str, str] = {}

    def read(self, now: float, *, slow: bool) -> dict[str, float]:
        """Counters by name. Rates count the processes that both samples saw."""
        if slow:
            self._find_members()
        usage = {
            pid: found for pid, process in self._processes.items() if (found := process.usage(slow=slow))
        }
        for pid in self._processes.keys() - usage.keys():
            self._processes.pop(pid).close()
        values: dict[str, float] = {}
        if usage:
            values["rss_mib"] = sum(process.rss_mib for process in usage.values())
            values["threads"] = sum(process.threads for process in usage.values())
            values["processes"] = len(usage)
        if self._at is not None:
            values |= self._rates(_FAST_RATES, usage, self._before, now - self._at)
        self._before, self._at = usage, now
        if slow:
            if self._slow_at is not None:
                values |= self._rates(_SLOW_RATES, usage, self._slow_before, now - self._slow_at)
            self._slow_before, self._slow_at = usage, now
        return values

    def close(self) -> None:
        """Release all processes."""
        for process in self._processes.values():
            process.close()
        self._processes = {}

    def _find_members(self) -> None:
        for pid in psutil.pids():
            if pid not in self._processes:
                try:
                    if os.getpgid(pid) == self._pgid:
                        self._processes[pid] = self._open(pid)
                except OSError:
                    continue  # it has just ended

    def _rates(
        self, rates: Sequence["_Rate"], now: dict[int, Usage], before: dict[int, Usage], seconds: float
    ) -> dict[str, float]:
        values = {}
        pairs = [(before[pid], usage) for pid, usage in now.items() if pid in before]
        for rate in rates:
            grown = [(getattr(old, rate.field), getattr(new, rate.field)) for old, new in pairs]
            known = [(old, new) for old, new in grown if old is not None and new is not None]
            if known:
                # A thread that ended takes its switches along, so sums may shrink.
                values[rate.name] = rate.factor * sum(max(0, new - old) for old, new in known) / seconds
                self.absent.pop(rate.name, None)
            elif grown and rate.name not in self._seen:
                self.absent[rate.name] = "the system does not tell it of these processes"
        self._seen |= values.keys()
        return values


@dataclass(frozen=True, slots=True)
class _Rate:
    name: str
    field: str
    factor: float = 1.0


_FAST_RATES = (
    _Rate("cpu_pct", "cpu_s", 100.0),
    _Rate("minor_faults_per_s", "minor_faults"),
    _Rate("major_faults_per_s", "major_faults"),
)
_SLOW_RATES = (
    _Rate("read_mib_per_s", "read_mib"),
    _Rate("write_mib_per_s", "write_mib"),
    _Rate("voluntary_switches_per_s", "voluntary_switches"),
    _Rate("involuntary_switches_per_s", "involuntary_switches"),
)


class _Host:
    """The cores that this process may use, whoever uses them."""

    def __init__(self) -> None:
        self.absent: dict[str, str] = {}
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._before: dict[int, list[int]] = {}
        if not (_PROC / "stat").exists():
            self.absent["core0_pct"] = "needs /proc/stat"
        clocks = {
            core: _CPU / f"cpu{core}/cpufreq/scaling_cur_freq" for core in self._cores[:_MOST_FREQUENCIES]
        }
        self._clocks = {core: str(path) for core, path in clocks.items() if path.exists()}
        if not self._clocks:
            self.absent["core0_mhz"] = "the kernel offers no cpufreq, as in most virtual machines"

    def read(self) -> dict[str, float]:
        """Busy share of each core, of waiting for storage and of time stolen by the host's other guests."""
        values = {f"core{core}_mhz": int(_read(path)) / 1000 for core, path in self._clocks.items()}
        if "core0_pct" in self.absent:
            return values
        now = dict(_core_ticks(self._cores))
        spent = {
            core: [new - old for new, old in zip(ticks, self._before[core], strict=True)]
            for core, ticks in now.items()
            if core in self._before
        }
        self._before = now
        # Columns: user nice system idle iowait irq softirq steal.
        for core, ticks in spent.items():
            values[f"core{core}_pct"] = 100 * (sum(ticks) - ticks[3] - ticks[4]) / max(1, sum(ticks))
        total = sum(map(sum, spent.values()))
        if total:
            values["iowait_pct"] = 100 * sum(ticks[4] for ticks in spent.values()) / total
            values["steal_pct"] = 100 * sum(ticks[7] for ticks in spent.values()) / total
        return values


def _core_ticks(cores: Iterable[int]) -> Iterable[tuple[int, list[int]]]:
    wanted = {f"cpu{core}".encode(): core for core in cores}
    for line in _read("/proc/stat").split(b"\nintr", 1)[0].splitlines():
        name, *ticks = line.split()
        if name in wanted:
            yield wanted[name], [int(tick) for tick in ticks[:8]]


def _open_or_none(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _read(path: str) -> bytes:
    """The whole of a small kernel file. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(file, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(file)
