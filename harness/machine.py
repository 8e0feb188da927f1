"""What this machine is, which devices it has, and what would spoil a measurement on it."""

import hashlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np
import psutil

from engines.interface import Machine
from harness import nvml
from harness.errors import UserError, unknown

_MIB = 2**20
NOISY_PCT = 5.0
"""Spread of a fixed piece of work above which single runs cannot be told from the 5 % that matters."""
_BUSY_PCT = 25.0
"""Share of the cores that others use above which they take time from every measurement."""
_BUSY_SAMPLE_S = 0.5
_SWAP_STALL_PCT = 1.0
"""Share of the last 10 seconds in which some process waited for memory."""


def detect(root: Path = Path("/")) -> Machine:
    """This machine as this process may use it. Starts no process. `root` holds /proc and /sys."""
    model, flags = _cpu(root)
    return Machine(
        cpu_model=model,
        cores=_cores(root),
        memory_mib=_memory_mib(root),
        gpus=nvml.gpus(),
        cpu_flags=flags,
        system=sys.platform,
        kernel=platform.release(),
        python=platform.python_version(),
    )


def _cpu(root: Path) -> tuple[str, frozenset[str]]:
    """Model and instruction set extensions of the first core; reading all takes long on large machines."""
    fields: dict[str, str] = {}
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break
                name, _, value = line.partition(":")
                fields[name.strip()] = value.strip()
    except OSError:
        pass  # not Linux
    model = fields.get("model name") or fields.get("Processor") or platform.processor() or platform.machine()
    return model, frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _cores(root: Path) -> int:
    affinity = len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)
    # Rounded up, as the Go and Java runtimes do: a thread too few would leave the fraction idle.
    return max(1, math.ceil(min(affinity, _cpu_quota(root))))


def _cpu_quota(root: Path) -> float:
    """Cores' worth of time that the strictest control group around this process grants; inf without any."""
    quotas = [math.inf]
    for folder in _control_groups(root, "cpu"):
        limit = _words(folder / "cpu.max")
        if not limit:
            limit = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(limit) == 2 and limit[0] not in ("max", "-1"):
            quotas.append(int(limit[0]) / int(limit[1]))
    return min(quotas)


def _memory_mib(root: Path) -> int:
    limits = [psutil.virtual_memory().total]
    for folder in _control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(folder / name) if word != "max"]
    return min(limits) // _MIB


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups, of both versions, that hold this process, innermost first."""
    own = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            own["cgroup" if controllers else "cgroup2"] = path
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, kind = line.partition(" - ")
        filesystem, _, options = kind.split(" ", 2)
        if filesystem not in own or (filesystem == "cgroup" and controller not in options.split(",")):
            continue
        top, at = mount.split(" ")[3:5]
        # Where the mount shows only a part of the tree, as in a container, paths outside it mean its top.
        inside = own[filesystem].removeprefix(top) if own[filesystem].startswith(top) else ""
        folder, mounted = root / at.lstrip("/") / inside.strip("/"), root / at.lstrip("/")
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(mounted))


def _lines(path: Path) -> list[str]:
    """The lines of a small file, none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def available_devices(machine: Machine) -> tuple[str, ...]:
    """Names that `--device` takes here, besides `auto`.

    Any Mac may have Metal (mps); only PyTorch itself can tell, and it is asked where an engine opens.
    """
    metal = ("mps",) if machine.system == "darwin" else ()
    return ("cpu", *(f"cuda:{gpu.index}" for gpu in machine.gpus), *metal)


def resolve_device(name: str, machine: Machine) -> str:
    """The device meant by `name`: `auto` is the first GPU, else the CPU. Raises UserError."""
    known = available_devices(machine)
    if name == "auto":
        return known[1] if machine.gpus else "cpu"
    name = "cuda:0" if name == "cuda" else name
    if name in known:
        return name
    if name.startswith("cuda:") and not machine.gpus:
        raise UserError(f"device {name!r} is not on this machine ({nvml.absence()}): use --device cpu.")
    raise unknown("device", name, ("auto", *known))


def fingerprint(machine: Machine, versions: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that change with what changes speed: processor, memory, GPUs, versions.

    Memory counts in GiB, as its exact size changes with the kernel.
    """
    facts = {
        "cpu": machine.cpu_model,
        "cores": machine.cores,
        "memory_gib": round(machine.memory_mib / 1024),
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "versions": dict(versions),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def describe(machine: Machine) -> str:
    """The machine in a line for people."""
    cores = f"{machine.cores} core" + "s" * (machine.cores > 1)
    names = [gpu.name for gpu in machine.gpus]
    gpus = [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)] or ["no GPU"]
    return ", ".join([machine.cpu_model, cores, f"{machine.memory_mib / 1024:.0f} GiB", *gpus])


class Caution(StrEnum):
    """A doubt about a measurement, with what to do about it."""

    advice: str

    def __new__(cls, value: str, advice: str) -> "Caution":
        """A member is its name; the advice goes with it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.advice = advice
        return member

    NOISY = "noisy", "The same work takes varying time here: measure for longer or on a quieter machine."
    BUSY = "busy", "Other programs use the processor: end them, or expect wide intervals."
    POWERSAVE = "powersave", "The processor's governor saves power: set it to performance while measuring."
    THROTTLED = (
        "throttled",
        "Heat or power held the clocks back: cool the machine or wait, then measure again.",
    )
    SHARED_GPU = "shared_gpu", "Another process computes on the GPU: end it or choose another device."
    SWAPPING = "swapping", "Programs wait for memory: free some, or use fewer replicas."
    TOO_FEW_PAGES = "too_few_pages", "The intervals are wide because there are few pages: give more pages."
    DRIFT = "drift", "Speed changed during the run: trust paired comparisons only, or repeat it."
    OTHER_MACHINE = (
        "other_machine",
        "The config comes from another machine or other versions: tune again here.",
    )
    EMULATED = "emulated", "The processor is emulated: speeds here say nothing of real ones."
    NO_GROUND_TRUTH = (
        "no_ground_truth",
        "The pages have no text to compare with: CER is the difference from the baseline's own output.",
    )
    PART_GROUND_TRUTH = (
        "part_ground_truth",
        "Some data sets have no text to compare with: their CER is the difference from the baseline's own output.",
    )
    IDLE_SETTING = (
        "idle_setting",
        "A setting cannot act on these pages: leave it out, or measure on pages that it is for.",
    )
    STAND_IN = (
        "stand_in",
        "The engine as shipped fails here: speed and CER are compared with a start that works in its place.",
    )
    SAME_SIDES = (
        "same_sides",
        "Config and build are those of the baseline, so only the machine was tested: name what to compare with "
        "--against or --config.",
    )
    FEW_TRIALS = "few_trials", "The budget had room for hardly any variant: give a longer --budget."
    UNCONFIRMED = "unconfirmed", "The winner was not proven on unseen pages: give a longer --budget."
    UNEQUAL_SETS = (
        "unequal_sets",
        "The winner may read one data set worse, which others make up for: see its CER by set, or tune for it alone.",
    )
    SHARED_DEVICES = (
        "shared_devices",
        "The devices were not shown to be equally fast side by side, so only the first measured: tune each alone.",
    )
    STORAGE_LOST = (
        "storage_lost",
        "The shared database went away and the run went on alone: give --resume --storage to share its trials.",
    )
    INTERRUPTED = "interrupted", "The run was stopped before the end of its budget: go on with --resume."

    @property
    def sentence(self) -> str:
        """Name and advice, as results carry them."""
        return f"{self.value}: {self.advice}"


@dataclass(frozen=True, slots=True)
class Load:
    """The state of the machine at one moment. What cannot be read is None."""

    busy_pct: float
    """Share of this process's cores in use. Not the mean load of a minute, which still counts what has just ended."""
    governor: str | None
    """Frequency governor of the first core."""
    temperature_c: float | None
    """The hottest sensor of the processor."""
    memory_stall_pct: float | None
    """Share of the last 10 seconds in which some process waited for memory."""
    gpu_throttle: int | None
    """Why GPU clocks are held back, as NVML's bit mask, all GPUs together."""
    gpu_processes: int | None
    """Processes that compute on the GPUs, this one left out."""


def load(machine: Machine, root: Path = Path("/")) -> Load:
    """The present state, watched for half a second. `root` holds /proc and /sys."""
    governor = _words(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    stalls = [word for word in _words(root / "proc/pressure/memory") if word.startswith("avg10=")]
    gpu_states = [state for gpu in machine.gpus if (state := nvml.state(gpu.index))]
    return Load(
        busy_pct=_busy_pct(),
        governor=governor[0] if governor else None,
        temperature_c=_temperature_c(),
        memory_stall_pct=float(stalls[0].removeprefix("avg10=")) if stalls else None,
        gpu_throttle=reduce(or_, (mask for mask, _ in gpu_states)) if gpu_states else None,
        gpu_processes=sum(others for _, others in gpu_states) if gpu_states else None,
    )


def _busy_pct() -> float:
    shares = psutil.cpu_percent(_BUSY_SAMPLE_S, percpu=True)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(shares))
    # Where some cores are offline, those that are on are numbered otherwise than by affinity.
    return statistics.fmean([share for core, share in enumerate(shares) if core in cores] or shares)


def _temperature_c() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    found = [
        entry.current for name in ("coretemp", "k10temp", "cpu_thermal") for entry in sensors.get(name, [])
    ]
    return max(found, default=None)


def cautions(machine: Machine, state: Load | None = None) -> tuple[Caution, ...]:
    """What would spoil a measurement that began now. Ask before starting any work of your own."""
    state = state or load(machine)
    doubts = {
        Caution.BUSY: state.busy_pct > _BUSY_PCT,
        Caution.POWERSAVE: state.governor == "powersave",
        Caution.THROTTLED: bool((state.gpu_throttle or 0) & nvml.HARMFUL_THROTTLE),
        Caution.SHARED_GPU: bool(state.gpu_processes),
        Caution.SWAPPING: (state.memory_stall_pct or 0) > _SWAP_STALL_PCT,
        Caution.EMULATED: machine.cpu_model.startswith(("QEMU", "TCG")),
    }
    return tuple(caution for caution, holds in doubts.items() if holds)


def noise_pct(seconds: float = 2.0) -> float:
    """Spread of the time that one core takes for the same work again and again, in per cent of the median.

    The work is a page's worth of pixels; the spread is 1.4826 times the median absolute deviation, which is
    the standard deviation where the times are normal and does not mind a few stragglers. Takes `seconds`.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 900), dtype=np.uint8)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end or len(times) < 3:
        np.sort(pixels, axis=1)
        times.append(time.perf_counter() - start)
    return _spread_pct(times)


def _spread_pct(times: Sequence[float]) -> float:
    middle = np.median(times)
    return float(148.26 * np.median(np.abs(np.array(times) - middle)) / middle)
