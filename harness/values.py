"""The values that flow through the tool, one way:

    Variant -> Measurement | Failure -> TrialResult -> Study -> TunedConfig, report

All are frozen and none prints or writes. A Measurement holds raw facts only; every figure is computed from it.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from engines.interface import Line, Machine, Setting, Settings


@dataclass(frozen=True, slots=True)
class Variant:
    """One engine on one device with complete settings, those of the page pipeline included."""

    engine: str
    device: str
    settings: Settings

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", dict(sorted(self.settings.items())))

    @property
    def canonical(self) -> str:
        """The JSON text that names this variant: sorted keys, no spaces."""
        parts = {"engine": self.engine, "device": self.device, "settings": dict(self.settings)}
        return json.dumps(parts, sort_keys=True, separators=(",", ":"))

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of `canonical`."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:12]

    def __hash__(self) -> int:
        return hash(self.canonical)


class FailureKind(StrEnum):
    """Why a trial gave no measurement."""

    OOM = "oom"
    CRASH = "crash"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    INVALID_OUTPUT = "invalid_output"


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that ended without a measurement. It is stored, shown and learnt from."""

    kind: FailureKind
    stage: str
    """What was going on: `open`, `warm-up` or `read`."""
    message: str
    stderr_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One page as one variant read it."""

    page_id: str
    lines: tuple[Line, ...]
    seconds: float
    """From submission (the page is next to be decoded) to its text."""
    stage_s: Mapping[str, float]
    error: str | None = None
    """Set where the engine failed on this page: it then counts as empty output."""
    done_s: float = 0.0
    """When its text arrived, in seconds since its block began."""
    retreats: int = 0
    """How often the out-of-memory retreat had to halve the pages per call for this page."""

    @property
    def text(self) -> str:
        """All lines, joined by newlines."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Block:
    """Pages that were read together: the wall time from the first submission to the last text."""

    pages: tuple[PageRecord, ...]
    wall_s: float
    energy_j: float | None = None
    """What device and host used meanwhile; None where the hardware does not count it, or some was used on pages that
    were read again."""
    spare_s: float = 0.0
    """What the replicas had left of `wall_s`, on average, when each was through with its part."""

    @property
    def busy_s(self) -> float:
        """What the pages take in a queue that keeps every replica busy: the wall time of one replica."""
        return self.wall_s - self.spare_s

    @property
    def pages_per_second(self) -> float:
        """Throughput of this block."""
        return len(self.pages) / self.busy_s


@dataclass(frozen=True, slots=True)
class CounterSample:
    """Counters of a trial's process group at one moment. A counter that cannot be read is absent."""

    at_s: float
    """Seconds since the trial's process started."""
    values: Mapping[str, float]
    """By name with unit: `cpu_pct`, `rss_mib`, `read_mib`, `gpu0_util_pct`, ..."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that an engine counts, such as `recompilations`: a number for each replica."""

    cold: tuple[float, ...]
    """Until the end of the warm-up."""
    steady: tuple[float, ...]
    """Since then, while pages were measured, those that were read again among them."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Raw facts of one trial that succeeded."""

    cold_start_s: float
    """From process start to the first page read: imports, loading, compiling, warm-up."""
    blocks: tuple[Block, ...]
    samples: tuple[CounterSample, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    """Counters that could not be read, with the reason."""
    build_s: float = 0.0
    """Of the cold start: making models that later starts find in the cache."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What the engine counted, by name."""

    @property
    def pages(self) -> tuple[PageRecord, ...]:
        """Every page record, block by block."""
        return tuple(page for block in self.blocks for page in block.pages)

    @property
    def wall_s(self) -> float:
        """Of all blocks."""
        return sum(block.wall_s for block in self.blocks)

    @property
    def busy_s(self) -> float:
        """Of all blocks."""
        return sum(block.busy_s for block in self.blocks)

    @property
    def pages_per_second(self) -> float:
        """Throughput over all blocks, after warm-up. Raises ZeroDivisionError where no block was read."""
        return len(self.pages) / self.busy_s

    @property
    def first_readings(self) -> dict[str, PageRecord]:
        """Each page as it was read the first time, by page id."""
        return first_readings(self.pages)

    @property
    def stage_ms(self) -> dict[str, float]:
        """Mean milliseconds of work a page, by stage."""
        stages = dict.fromkeys(stage for page in self.pages for stage in page.stage_s)
        return {stage: 1000 * fmean(page.stage_s.get(stage, 0.0) for page in self.pages) for stage in stages}


def first_readings(records: Iterable[PageRecord]) -> dict[str, PageRecord]:
    """Each page as it was read the first time, by page id."""
    first: dict[str, PageRecord] = {}
    for record in records:
        first.setdefault(record.page_id, record)
    return first


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial, whatever became of it."""

    number: int
    variant: Variant
    phase: str
    """`baseline`, `search` or `confirm`."""
    started_s: float
    """Seconds since the study began."""
    wall_s: float
    """What the trial cost of the budget."""
    outcome: Measurement | Failure
    note: str = ""
    """Why it ended as it did, for people: "dropped after 4 pages: 38 % slower", ..."""
    device: str = ""
    """Of several devices, the one that measured it."""

    @property
    def ran_out_of_time(self) -> bool:
        """Whether its time was over before it told anything, which says nothing of the variant."""
        return isinstance(self.outcome, Failure) and bool(self.note)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class Verdict(StrEnum):
    """The outcome of a paired comparison, from the point of view of the second variant."""

    FASTER = "FASTER"
    SLOWER = "SLOWER"
    SAME = "SAME"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Round:
    """One round: the blocks and cold start of each side, and log(t_first / t_side) of each but the first."""

    blocks: tuple[tuple[Block, ...], ...]
    cold_start_s: tuple[float, ...]
    log_ratios: tuple[float, ...]
    peak_rss_mib: tuple[float | None, ...] = ()
    """Of each side; None where the kernel does not say."""

    @property
    def pages(self) -> int:
        """How many each side read."""
        return sum(len(block.pages) for block in self.blocks[0])

    @property
    def took_s(self) -> float:
        """Starts and blocks of all sides."""
        return sum(self.cold_start_s) + sum(block.wall_s for own in self.blocks for block in own)


UNKNOWN_DRIFT = Interval(0.0, -math.inf, math.inf)
"""Where no page was read early and late."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A and B on the same pages, interleaved over rounds of fresh processes."""

    a: Variant
    b: Variant
    log_ratios: tuple[float, ...]
    """One a round that counts: log(total of A / total of B) of the objective; above 0, B is better."""
    speedup: Interval
    """How much better B is by the objective; by default the throughput of B over that of A."""
    verdict: Verdict
    cer_a: Interval
    cer_b: Interval
    cer_increase: Interval
    """CER of B minus CER of A, paired bootstrap over documents."""
    pages: int
    failure: str | None = None
    """Set where a side could not be measured; the figures then hold what was measured before."""
    cer_increase_by_set: Mapping[str, Interval] = field(default_factory=dict)
    """The same for each data set with text to be read, where there are several."""
    drift: Interval = UNKNOWN_DRIFT
    """Log of how much longer the same pages took late than early, on either side."""


@dataclass(frozen=True, slots=True)
class ReferencePage:
    """A page's ground truth, as scoring and reports need it."""

    page_id: str
    set: str
    document: str
    """Pages of one document are not independent: intervals draw documents."""
    text: str
    profile: str
    """Normalisation profile of its set."""
    path: str = ""
    page_index: int = 0
    language: str = ""


@dataclass(frozen=True, slots=True)
class DataSummary:
    """One data set as it was used."""

    name: str
    sha256: str
    pages: int
    profile: str
    licence: str
    skipped: tuple[tuple[str, str], ...] = ()
    """Pages that could not be used, with the reason."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a variant must meet to be chosen. None means no such bound."""

    max_cer_increase: float = 0.002
    max_p95_ms: float | None = None
    max_memory_mib: float | None = None
    max_p99_ms: float | None = None
    max_gpu_memory_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """A whole run: everything that a report or a config is made from."""

    id: str
    created: str
    """ISO 8601 with time zone."""
    engine: str
    device: str
    objective: str
    budget_s: float
    spent_s: float
    seed: int
    constraints: Constraints
    machine: Machine
    fingerprint: str
    versions: Mapping[str, str]
    data: tuple[DataSummary, ...]
    references: tuple[ReferencePage, ...]
    trials: tuple[TrialResult, ...]
    comparisons: tuple[Comparison, ...]
    """Confirmation: the baseline (A) against each finalist (B) on pages that the search never saw."""
    best: Variant | None
    """None where nothing met the constraints."""
    cautions: tuple[str, ...] = ()
    rate: float | None = None
    """Pages a second that arrive, where the objective is `server`."""
    price_per_hour: float | None = None
    """Of the machine, where the objective is `cost`."""
    noise_pct: float | None = None
    """Standard deviation between trials of one variant here (A/A); None where there was no time to measure it."""

    @property
    def shipped(self) -> TrialResult | None:
        """The engine as its authors ship it, None where it was not tried."""
        tried = [trial for trial in self.trials if trial.phase == "baseline"]
        return next((trial for trial in tried if not trial.ran_out_of_time), tried[0] if tried else None)

    @property
    def baseline(self) -> TrialResult | None:
        """What everything is compared with: the engine as shipped, or what stands in for it where that fails."""
        tried = (trial for trial in self.trials if trial.phase == "baseline")
        return next((trial for trial in tried if isinstance(trial.outcome, Measurement)), self.shipped)

    @property
    def shipped_failure(self) -> Failure | None:
        """Why the engine as shipped cannot run here, None where it can or was not tried."""
        return self.shipped.outcome if self.shipped and isinstance(self.shipped.outcome, Failure) else None


def with_settings(variant: Variant, **changes: Setting) -> Variant:
    """The same variant with some settings changed."""
    return Variant(variant.engine, variant.device, {**variant.settings, **changes})
