"""What an engine is to the tool: settings it offers, pages in, text out.

An engine is a module (or package) of this folder, or of another distribution under the entry point group
`ocr_tune.engines`, that has the functions of `Engine`. Nothing here knows of search, storage or reports.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Setting = bool | int | float | str
Settings = Mapping[str, Setting]
Stage = Literal["pipeline", "build", "decode", "preprocess", "detect", "crop", "recognise", "postprocess"]
"""`build` is making models at the first opening, which later ones find made; the others follow a page."""
STAGES: tuple[Stage, ...] = ("decode", "preprocess", "detect", "crop", "recognise", "postprocess")


class UnsupportedError(Exception):
    """These settings cannot run on this machine; the message says why and names the remedy."""


class OutOfMemoryError(Exception):
    """A call needed more memory than the device has; smaller batches may succeed."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator as its driver describes it."""

    index: int
    name: str
    memory_mib: int
    driver: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine may know of the machine that it runs on."""

    cpu_model: str
    cores: int
    """Cores this process may use: the smaller of its affinity mask and its cgroup quota, at least 1."""
    memory_mib: int
    """Memory this process may use, cgroup limit included."""
    gpus: tuple[Gpu, ...] = ()
    cpu_flags: frozenset[str] = frozenset()
    """Instruction set extensions, in the names of Linux's /proc/cpuinfo (`avx512_vnni`, `amx_int8`, ...)."""
    system: str = "linux"
    kernel: str = ""
    python: str = ""


@dataclass(frozen=True, slots=True)
class PdfPage:
    """A page of a PDF file, counted from 0."""

    path: str
    index: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page image: `pixels` is (height, width, 3) uint8, RGB, upright, contiguous."""

    id: str
    pixels: NDArray[np.uint8]
    pdf: PdfPage | None = None
    """Where it was rendered from, for engines that convert documents."""


Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Corners in page pixels, clockwise from the top left of the text."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text with its box and the engine's confidence from 0 to 1."""

    text: str
    box: Box | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class PageText:
    """What an engine read on one page: lines in reading order."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """All lines, joined by newlines."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Choice:
    """Values without an order. `open` also admits any other text, such as a file path."""

    values: tuple[Setting, ...]
    open: bool = False

    def admits(self, value: Setting) -> bool:
        """Whether `value` may be set."""
        same = any(value == known and type(value) is type(known) for known in self.values)
        return same or (self.open and isinstance(value, str) and bool(value))


@dataclass(frozen=True, slots=True)
class Ordered:
    """Numbers in ascending order: the grid that a search walks. Any number from `low` to `high` may be set."""

    values: tuple[int, ...] | tuple[float, ...]
    low: int | float | None = None
    high: int | float | None = None

    def admits(self, value: Setting) -> bool:
        """Whether `value` may be set: a number of the grid's type within its bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, float) and all(isinstance(known, int) for known in self.values):
            return False
        low = self.values[0] if self.low is None else self.low
        high = self.values[-1] if self.high is None else self.high
        return low <= value <= high


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting of an engine or of the page pipeline."""

    name: str
    stage: Stage
    domain: Choice | Ordered
    default: Setting
    """The value of the engine as its authors ship it."""
    help: str
    when: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    """The knob acts only where each named knob has one of the given values; elsewhere it is left out."""
    changes_text: bool = False
    """Whether the text that is read may depend on it; if not, accuracy need not be measured again."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a model as its runtime timed it, over all calls of a profile."""

    model: str
    name: str
    kind: str
    """The operator, such as Conv."""
    kernel: str
    """What ran it: the runtime's own name of a kernel or of a device."""
    calls: int
    total_ms: float


def core_counts(cores: int) -> tuple[int, ...]:
    """Thread or stream counts worth trying on `cores` cores: 1, 2, 4, ... and `cores`."""
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return (*counts, cores) if cores > 1 else (1,)


class StageTimer:
    """Collects the seconds spent in each stage, and what an engine counts. Safe to use from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._counts: list[Callable[[], Mapping[str, float]]] = []
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Add the wall time of the block to stage `name`, in seconds."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: Stage, seconds: float) -> None:
        """Add `seconds` to stage `name`."""
        with self._lock:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def watch(self, counts: Callable[[], Mapping[str, float]]) -> None:
        """Ask `counts` between blocks of pages for totals by name that only grow, such as compilations."""
        self._counts.append(counts)

    def facts(self) -> dict[str, float]:
        """The totals so far of all that is watched."""
        return {name: total for counts in self._counts for name, total in counts().items()}

    def take(self) -> dict[str, float]:
        """The seconds by stage since the last call, which are then forgotten."""
        with self._lock:
            taken, self._seconds = self._seconds, {}
        return taken


class Reader(Protocol):
    """An opened engine."""

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        """One text per page, in the order of `pages`.

        Raises OutOfMemoryError where smaller batches may help. A reader is used by one thread at a time.
        """
        ...


class Engine(Protocol):
    """The functions of an engine's module. Its name is the module's name.

    More are optional: `fetch() -> Iterator[str]` downloads weights;
    `calibrate(pages: Iterable[Page]) -> Settings` keeps sample pages to build models from and returns the
    settings that name them, which then hold for every variant of a run;
    `layers(settings: Settings, device: str, pages: Sequence[Page], folder: Path) -> Iterable[Layer]` reads pages
    with the runtime's own profiler on, whose traces it may leave in `folder`; `checksums() -> Mapping[str, str]`
    gives the SHA-256 of each model file that is here, by name, where the versions of `packages()` do not imply it;
    `absent(machine: Machine) -> Mapping[str, str]` names the parts of a usable engine that cannot run here, such as
    runtimes, with the reason and the remedy; it imports nothing heavy;
    `compile_models() -> Sequence[str]` and `compile_facts(model: str, device: str) -> Iterator[Mapping]` tell what
    torch.compile does with each model.
    """

    def summary(self) -> str:
        """One sentence: what it is, with the licence of code and weights."""
        ...

    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions decide what this engine does; they are recorded with every result."""
        ...

    def unusable(self, machine: Machine) -> str | None:
        """None where it can run here, else the reason and the remedy in one sentence. Imports nothing heavy."""
        ...

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """What can be set on this machine. Imports nothing heavy."""
        ...

    def open(self, settings: Settings, device: str, timer: StageTimer) -> AbstractContextManager[Reader]:
        """Load the engine with complete `settings` on `device` ("cpu", "cuda:0", ...).

        Raises UnsupportedError where these settings cannot run here.
        """
        ...
