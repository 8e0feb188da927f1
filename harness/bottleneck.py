"""Which resource bounds a variant, and which knob to try: counters and stage times end in one sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engines.interface import Machine, Settings
from harness.values import CounterSample

CORES_BUSY = 0.85
"""Share of the cores above which there is no processor time left to win: the rest is the tails of blocks."""
GPU_BUSY_PCT = 85.0
"""Share of time with some kernel running above which the processor keeps up with the GPU."""
GPU_FULL_PCT = 50.0
"""Share of the multiprocessors in use below which the kernels themselves are too small for the GPU."""
GPU_MEMORY_PCT = 60.0
"""Share of the memory bandwidth above which kernels wait for memory; copies alone rarely exceed 80 %."""
GPU_USED_PCT = 5.0
"""Share of time with some kernel running below which the GPU has no part in the variant."""
MEMORY_FULL = 0.9
"""Share of the memory above which the kernel drops the pages of programs and files to make room."""
MAJOR_FAULTS_PER_S = 100.0
"""Each waits for storage, 0.1 ms on flash to 10 ms on disks: from here on it is at least 1 % of the time."""
IOWAIT_PCT = 20.0
"""Share of core time idle with IO outstanding above which storage is what is waited for."""
STAGE_SHARE = 0.4
"""Share of the stage time above which decoding is the stage to speed up first."""
SWITCHES_PER_BUSY_CORE_S = 5000.0
"""Voluntary switches a second and busy core. Page pipelines make some hundreds, contended locks far more."""

_KNOBS: Mapping[str, tuple[str, ...]] = {
    "decode": ("prefetch", "decode_threads", "replicas"),
    "preprocess": ("max_side",),
    "detect": ("det_side", "det_max_side", "det_model", "det_runtime"),
    "crop": ("crop_mode", "max_side"),
    "recognise": ("rec_model", "rec_precision", "rec_runtime", "use_cls"),
    "postprocess": ("det_score_mode",),
}
_BATCHES = ("rec_batch", "pages_per_call", "replicas")
_FEWER_BYTES = ("rec_precision", "rec_model", "det_side")


class Resource(StrEnum):
    """What bounds a variant."""

    GPU_COMPUTE = "gpu_compute"
    GPU_MEMORY = "gpu_memory"
    CPU = "cpu"
    """Processor time: of all cores, or of the one that serial code runs on."""
    DECODE = "decode"
    IO = "io"
    LOCK = "lock"
    MEMORY = "memory"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The resource that bounds a variant, and the sentence that says so."""

    resource: Resource
    sentence: str


@dataclass(frozen=True, slots=True)
class _Facts:
    """Means over the time of reading."""

    busy_cores: float
    cores: int
    stage: str
    """The stage that takes most time, empty where stages are not known."""
    stage_share: float
    means: Mapping[str, float]
    peak_rss_mib: float
    memory_mib: int
    settings: Settings

    def mean(self, name: str) -> float:
        """Mean of a counter, 0 where it is absent: no rule then speaks of it."""
        return self.means.get(name, 0.0)

    @property
    def gpu(self) -> str:
        """Prefix of the counters of the GPU that works most."""
        names = [name for name in self.means if name.startswith("gpu") and name.endswith("_util_pct")]
        names = [name for name in names if not name.endswith("_mem_util_pct")]
        return max(names, key=self.mean, default="gpu0_util_pct").removesuffix("util_pct")

    @property
    def where(self) -> str:
        """The stage that takes most time, as part of a sentence."""
        return (
            f", {self.stage_share:.0%} of the time in {self.stage}".replace("%", " %") if self.stage else ""
        )


def bottleneck(
    stage_seconds: Mapping[str, float],
    samples: Sequence[CounterSample],
    machine: Machine,
    wall_s: float,
    settings: Settings,
) -> Bottleneck:
    """What bounds a variant. Pure.

    `stage_seconds` are sums over the pages, `samples` the counters of the whole trial, of which the last
    `wall_s` seconds count: those of reading, without start and warm-up.
    """
    facts = _facts(stage_seconds, samples, machine, wall_s, settings)
    if facts is None:
        return Bottleneck(Resource.UNKNOWN, "What bounds it is not known: there are no counters.")
    rules = (_gpu, _memory, _io, _decode, _cpu, _lock, _idle)
    return next(found for rule in rules if (found := rule(facts)))


def _facts(
    stage_seconds: Mapping[str, float],
    samples: Sequence[CounterSample],
    machine: Machine,
    wall_s: float,
    settings: Settings,
) -> _Facts | None:
    last_s = max((sample.at_s for sample in samples), default=0.0)
    values: dict[str, list[float]] = {}
    for sample in samples:
        if sample.at_s >= last_s - wall_s:
            for name, value in sample.values.items():
                values.setdefault(name, []).append(value)
    if "cpu_pct" not in values:
        return None
    means = {name: sum(series) / len(series) for name, series in values.items()}
    total_s = sum(stage_seconds.values())
    stage = max(stage_seconds, key=lambda name: stage_seconds[name]) if total_s else ""
    return _Facts(
        busy_cores=means["cpu_pct"] / 100,
        cores=machine.cores,
        stage=stage,
        stage_share=stage_seconds[stage] / total_s if stage else 0.0,
        means=means,
        peak_rss_mib=max(values.get("rss_mib", [0.0])),
        memory_mib=machine.memory_mib,
        settings=settings,
    )


def _gpu(facts: _Facts) -> Bottleneck | None:
    util = facts.mean(f"{facts.gpu}util_pct")
    if util < GPU_BUSY_PCT:
        return None
    bandwidth = facts.mean(f"{facts.gpu}dram_active_pct") or facts.mean(f"{facts.gpu}mem_util_pct")
    if bandwidth >= GPU_MEMORY_PCT:
        found = f"GPU-memory-bound: {bandwidth:.0f} % of its bandwidth in use{facts.where}"
        return _verdict(Resource.GPU_MEMORY, found, _try(facts, _FEWER_BYTES, "half precision"))
    filled = facts.means.get(f"{facts.gpu}sm_active_pct")
    if filled is not None and filled < GPU_FULL_PCT:
        found = f"GPU-bound by small kernels: busy {util:.0f} % of the time, but {filled:.0f} % full"
        return _verdict(Resource.GPU_COMPUTE, found, _try(facts, _BATCHES, "larger batches"))
    found = f"GPU-bound: busy {util:.0f} % of the time{facts.where}"
    return _verdict(Resource.GPU_COMPUTE, found, _try_stage(facts))


def _memory(facts: _Facts) -> Bottleneck | None:
    share, faults = facts.peak_rss_mib / facts.memory_mib, facts.mean("major_faults_per_s")
    if share < MEMORY_FULL and faults < MAJOR_FAULTS_PER_S:
        return None
    found = (
        f"Memory-bound: {facts.peak_rss_mib:.0f} of {facts.memory_mib} MiB in use at the peak, "
        f"{faults:.0f} pages a second read back from storage"
    )
    return _verdict(Resource.MEMORY, found, "fewer replicas, smaller pages_per_call or less prefetch")


def _io(facts: _Facts) -> Bottleneck | None:
    waiting = facts.mean("iowait_pct")
    if waiting < IOWAIT_PCT or facts.busy_cores >= CORES_BUSY * facts.cores:
        return None
    speed = facts.mean("read_mib_per_s") + facts.mean("write_mib_per_s")
    found = f"IO-bound: cores wait for storage {waiting:.0f} % of the time, at {speed:.1f} MiB a second"
    return _verdict(Resource.IO, found, _try(facts, ("prefetch",), "faster storage") + " or faster storage")


def _decode(facts: _Facts) -> Bottleneck | None:
    if facts.stage != "decode" or facts.stage_share < STAGE_SHARE:
        return None
    found = f"Decode-bound: {facts.busy_cores:.2f} of {facts.cores} cores busy{facts.where}"
    return _verdict(Resource.DECODE, found, _try_stage(facts))


def _cpu(facts: _Facts) -> Bottleneck | None:
    if facts.busy_cores < CORES_BUSY * facts.cores:
        return None
    found = f"CPU-bound: {facts.busy_cores:.2f} of {facts.cores} cores busy{facts.where}"
    return _verdict(Resource.CPU, found, _try_stage(facts))


def _lock(facts: _Facts) -> Bottleneck | None:
    switches = facts.mean("voluntary_switches_per_s")
    if switches < SWITCHES_PER_BUSY_CORE_S * max(1.0, facts.busy_cores):
        return None
    found = (
        f"Lock-bound: {switches:.0f} switches a second while {facts.busy_cores:.2f} of {facts.cores} "
        "cores are busy"
    )
    return _verdict(Resource.LOCK, found, _replicas(facts) or "fewer threads a stage")


def _idle(facts: _Facts) -> Bottleneck:
    """Neither cores nor GPU are full: serial code, or pages that come too slowly."""
    idle = 100 * (1 - facts.busy_cores / facts.cores)
    found = f"{idle:.0f} % of the cores idle: {facts.busy_cores:.2f} of {facts.cores} busy{facts.where}"
    util = facts.mean(f"{facts.gpu}util_pct")
    if util >= GPU_USED_PCT:
        found = f"The GPU idles {100 - util:.0f} % of the time and {found}"
    return _verdict(Resource.CPU, found, _replicas(facts) or _try(facts, ("prefetch",), "more threads"))


def _verdict(resource: Resource, found: str, advice: str) -> Bottleneck:
    return Bottleneck(resource, f"{found}; try {advice}.")


def _try_stage(facts: _Facts) -> str:
    return _try(facts, _KNOBS.get(facts.stage, ()), "a smaller or quantised model")


def _try(facts: _Facts, knobs: Sequence[str], otherwise: str) -> str:
    """Those of `knobs` that this variant has, at most three."""
    names = [name for name in knobs if name in facts.settings][:3]
    return (
        "another value of " + " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
        if names
        else otherwise
    )


def _replicas(facts: _Facts) -> str:
    """As many replicas as would fill the cores and fit into memory, empty where that is no more than now."""
    now = int(facts.settings.get("replicas", 1))
    fitting = (
        int(MEMORY_FULL * facts.memory_mib * now / facts.peak_rss_mib) if facts.peak_rss_mib else facts.cores
    )
    filling = max(now + 1, round(now * facts.cores / max(facts.busy_cores, 0.01)))
    wanted = min(facts.cores, fitting, filling)
    return f"replicas={wanted}" if wanted > now else ""
