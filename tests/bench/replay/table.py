"""Exhaustive tables: what every variant of a grid did, round by round, so that a search can be replayed.

The file is gzipped JSON in the T4 results format 1.0.0 of the autotuning community, as Kernel Tuner keeps it
(https://github.com/KernelTuner/kernel_tuner, `kernel_tuner/schema/T4`): `schema_version` and `results`, each with
`timestamp`, `configuration`, `times`, `invalidity`, `correctness` and `measurements`. All times are seconds;
`framework` is the cold starts of all rounds together. What T4 has no place for stands beside it: `table` (machine,
space, pages) and, for each result, `rounds`.
"""

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

from pydantic import TypeAdapter, ValidationError

from engines.interface import Knob, Machine, Setting
from harness.errors import UserError
from harness.space import Space
from harness.values import Failure, FailureKind, Variant
from tests.bench.replay.pooling import pooled

SCHEMA = "1.0.0"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class TablePage:
    """A page, as far as a replay needs it."""

    id: str
    set: str
    document: str
    language: str
    reference_chars: int
    unseen: bool
    """Never shown to a search: what its result is judged by."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One round of one variant: fresh processes, every page once, or the failure that it ended in."""

    spent_s: float
    """Wall time from the start of the processes to their end."""
    cold_start_s: float = 0.0
    """Without what building models took."""
    wall_s: float = 0.0
    """Of the whole pass over the pages, all replicas together."""
    page_s: tuple[float, ...] = ()
    """Work on each page, its wait in a queue left out, in the order of the table's pages: its share of the pass."""
    errors: tuple[int, ...] = ()
    """Character edits of each page."""
    failure: Failure | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """By stage, over all pages, as the engine reports it."""
    spare_s: tuple[float, ...] = ()
    """Of the wall time, by block, what throughput does not count: pages read again until every replica is through."""
    cut: str = ""
    """Why it ended after the first pages, whose times and edits are all it has; empty where it read every page."""

    @property
    def busy_s(self) -> float:
        """Wall time as throughput counts it."""
        return self.wall_s - sum(self.spare_s)


@dataclass(frozen=True, slots=True)
class Row:
    """One variant and its rounds."""

    settings: Mapping[str, Setting]
    build_s: float
    """Making models; 0 where an earlier variant had made them."""
    timestamp: str
    rounds: tuple[Reading, ...]

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The rounds that were measured, those that were cut short as they are."""
        return tuple(reading for reading in self.rounds if reading.failure is None)


@dataclass(frozen=True, slots=True)
class Head:
    """What a table was recorded from."""

    name: str
    engine: str
    device: str
    machine: Machine
    versions: Mapping[str, str]
    created: str
    synthetic: bool
    """Drawn from a model, for tests: never a result."""
    knobs: tuple[Knob, ...]
    """Those of the grid, with their conditions; defaults are the baseline."""
    grid: Mapping[str, tuple[Setting, ...]]
    start: tuple[Mapping[str, Setting], ...]
    """What a search tries first."""
    artefact: tuple[str, ...]
    """Knobs that name what is built before a variant can run."""
    pages: tuple[TablePage, ...]


@dataclass(frozen=True)
class Table:
    """A recorded space. A variant without a full set of rounds is as good as its rounds."""

    head: Head
    rows: tuple[Row, ...]

    @property
    def space(self) -> Space:
        """The knobs of the grid as a search sees them."""
        return Space(self.head.engine, self.head.device, self.head.knobs)

    @cached_property
    def by_id(self) -> dict[str, Row]:
        """Rows by the id of their variant."""
        return {self.variant(row).id: row for row in self.rows}

    def variant(self, row: Row) -> Variant:
        """The variant of a row."""
        return Variant(self.head.engine, self.head.device, row.settings)

    @property
    def baseline(self) -> Variant:
        """Every knob at its default."""
        return self.space.variant({})

    def readings(self, row: Row) -> tuple[Reading, ...]:
        """The rounds that were measured, each with every page."""
        return tuple(map(self.whole, row.readings))

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Of the work on all pages, that on each, as the baseline does it.

        Several pages in one call have one time, and pages side by side slow each other down: what a variant says of
        a page is as much about its neighbours.
        """
        rounds = [reading.page_s for reading in self.by_id[self.baseline.id].readings]
        return tuple(
            fmean(seconds) for seconds in zip(*([s / sum(r) for s in r] for r in rounds), strict=True)
        )

    def whole(self, reading: Reading) -> Reading:
        """A round that was measured, with every page, its work shared out as the baseline's is.

        Pages that a hopeless variant was spared have the baseline's edits: such a variant is too slow to be chosen
        whatever they were.
        """
        count = len(reading.page_s)
        read = sum(self.shares[:count]) if reading.cut else 1.0
        work_s = sum(reading.page_s) / read
        return replace(
            reading,
            wall_s=reading.busy_s / read + sum(reading.spare_s),
            page_s=tuple(share * work_s for share in self.shares),
            errors=(*reading.errors, *self.by_id[self.baseline.id].readings[0].errors[count:]),
            stage_s={stage: seconds / read for stage, seconds in reading.stage_s.items()},
        )

    def speed(self, row: Row) -> float:
        """Pages/s as measured: the geometric mean over rounds, 0 for one that ever failed.

        Of all pages, those that a search sees among them: the few others tell it with more noise than they differ.
        """
        if len(row.readings) < len(row.rounds) or not row.rounds:
            return 0.0
        return math.exp(fmean(self._log_speeds(row)))

    def true_speed(self, row: Row) -> float:
        """Pages/s as all rounds of all variants make it likely, 0 for one that ever failed."""
        speed = self.speed(row)
        return math.exp(self.pooled[self.variant(row).id]) if speed and self.is_whole(row) else speed

    def is_whole(self, row: Row) -> bool:
        """Whether every round of it read all pages."""
        return len(row.readings) == len(row.rounds) and not any(reading.cut for reading in row.rounds)

    @property
    def pooled(self) -> Mapping[str, float]:
        """The log of the true speed of each variant that was measured in full, by its id."""
        return self._pooled[0]

    @property
    def deviations(self) -> tuple[float, ...]:
        """What rounds of one variant are off by: logs of the speed."""
        return self._pooled[1]

    @cached_property
    def _pooled(self) -> tuple[dict[str, float], tuple[float, ...]]:
        rows = [row for row in self.rows if self.speed(row) and self.is_whole(row)]
        points = [[row.settings.get(knob.name) for knob in self.head.knobs] for row in rows]
        found = pooled(points, [self._log_speeds(row) for row in rows])
        ids = (self.variant(row).id for row in rows)
        return dict(zip(ids, found.log_speeds, strict=True)), found.deviations

    def _log_speeds(self, row: Row) -> list[float]:
        return [math.log(len(self.head.pages) / reading.busy_s) for reading in self.readings(row)]

    def cer(self, row: Row) -> float:
        """True character error rate on the unseen pages, over all rounds. Raises ValueError without any."""
        if not row.readings:
            raise ValueError("a variant that never ran has no error rate")
        unseen = [i for i, page in enumerate(self.head.pages) if page.unseen]
        edits = sum(r.errors[i] for r in self.readings(row) for i in unseen)
        return edits / (len(row.readings) * sum(self.head.pages[i].reference_chars for i in unseen))

    def exhaustive_s(self) -> float:
        """Wall time of measuring every variant once, with every build.

        Hopeless ones count as they were recorded, cut short: a search is held to the cheaper grid.
        """
        return sum(self.builds.values()) + sum(
            median(reading.spent_s for reading in row.rounds) for row in self.rows if row.rounds
        )

    def artefact(self, row: Row) -> tuple[Setting | None, ...]:
        """What names the models that a variant needs."""
        return tuple(row.settings.get(name) for name in self.head.artefact)

    @cached_property
    def builds(self) -> dict[tuple[Setting | None, ...], float]:
        """Seconds to build each artefact: the longest seen, as those that found it made took none."""
        longest: dict[tuple[Setting | None, ...], float] = {}
        for row in self.rows:
            name = self.artefact(row)
            longest[name] = max(longest.get(name, 0.0), row.build_s)
        return longest


_INVALIDITY = {
    FailureKind.OOM: "runtime",
    FailureKind.CRASH: "runtime",
    FailureKind.TIMEOUT: "timeout",
    FailureKind.UNSUPPORTED: "constraints",
    FailureKind.INVALID_OUTPUT: "correctness",
}
_HEAD = TypeAdapter(Head)
_ROUNDS = TypeAdapter(tuple[Reading, ...])


def write_table(table: Table, path: Path) -> None:
    """Write the table; the same table gives the same bytes."""
    head = asdict(table.head)
    document = {
        "schema_version": SCHEMA,
        "table": head,
        "results": [_result(row) for row in table.rows],
    }
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, default=sorted)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_table(path: Path) -> Table:
    """Read a table. Raises UserError where it is damaged or of another version."""
    try:
        with gzip.open(path) as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UserError(f"{path} unpacks to more than {_MAX_BYTES >> 20} MiB; it is not a replay table")
        document = json.loads(data)
        if document["schema_version"] != SCHEMA:
            raise UserError(
                f"{path} is of version {document['schema_version']}, not {SCHEMA}; record it again"
            )
        return Table(
            _HEAD.validate_python(document["table"]),
            tuple(
                Row(
                    result["configuration"],
                    result["times"]["compilation_time"],
                    result["timestamp"],
                    _ROUNDS.validate_python(result["rounds"]),
                )
                for result in document["results"]
            ),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path} is not a replay table: {str(error).splitlines()[0]}") from error


def _result(row: Row) -> dict[str, Any]:
    failed = next((reading.failure for reading in row.rounds if reading.failure), None)
    busy_s = [reading.busy_s for reading in row.readings]
    return {
        "timestamp": row.timestamp,
        "configuration": dict(row.settings),
        "times": {
            "compilation_time": row.build_s,
            "framework": sum(reading.cold_start_s for reading in row.readings),
            "runtimes": busy_s,
        },
        "invalidity": _INVALIDITY[failed.kind] if failed else "correct",
        "correctness": len(row.readings) / len(row.rounds),
        "measurements": [{"name": "busy_s", "value": median(busy_s), "unit": "s"}] if busy_s else [],
        "objectives": ["busy_s"],
        "rounds": [_compact(reading) for reading in row.rounds],
    }


def _compact(reading: Reading) -> dict[str, Any]:
    return {key: value for key, value in asdict(reading).items() if value not in (None, (), {}, "")}
