"""Records a table: every variant of a space, round after round, in fresh processes on this machine.

    python -m tests.bench.replay.record SPACE.yaml --data PATH... --work DIR -o TABLE.json.gz
        [--sample N]  measure N variants once and say how many minutes the whole would take
        [--pack]      only write the table from what DIR holds

DIR has one file a variant and round, written whole or not at all: killed at any moment, the same command goes on.
Rounds go over the whole space one after the other, in another order each, so that a drift of the machine becomes
noise between rounds and favours nobody.

A variant that needs several times the time of the fastest so far for its first pages is hopeless: it is cut short
there, marked with the reason, and not measured again in later rounds, no more than one that timed out. The table
keeps what was measured of it.

The variants near the optimum then get more rounds, fewer of them the more is known: the fastest of many near equals,
by a round or two each, would be the luckiest, and no search could be held to it.
"""

import argparse
import itertools
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from scipy.stats import t

from engines.interface import Choice, Knob, Setting
from harness.data import PageRef, load
from harness.environments import versions_of
from harness.errors import UserError
from harness.machine import detect, fingerprint, resolve_device
from harness.measure import Bench, Limits, block_pages, measure
from harness.search.plan import split_pages
from harness.space import Space, load_engine
from harness.store import write_atomic
from harness.values import Block, Failure, FailureKind, PageRecord, ReferencePage, Variant
from tests.bench.replay.compare import NEAR, fits
from tests.bench.replay.contenders import CONSTRAINTS
from tests.bench.replay.table import Head, Reading, Row, Table, TablePage, write_table

_LUCK = 0.08
"""Two standard deviations of a pass, as a share: how much further below the optimum one may seem."""
_FIRST_PAGES = 4
"""Read before a variant is judged hopeless: as many as a search reads before it drops one."""


class SpaceFile(BaseModel):
    """A space to record, as people write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    device: str = "cpu"
    rounds: Annotated[int, Field(ge=1, le=20)] = 3
    top_rounds: Annotated[int, Field(ge=0, le=50, description="of the variants near the optimum")] = 0
    search_pages: Annotated[int, Field(ge=4)]
    unseen_pages: Annotated[int, Field(ge=4)]
    deadline_s: Annotated[float, Field(gt=0, description="of one round of one variant")] = 120.0
    hopeless: Annotated[
        float, Field(gt=1, description="times the time of the fastest so far for the first pages")
    ] = 3.0
    fixed: Annotated[
        dict[str, Setting], Field(description="the same in every variant, baseline included")
    ] = {}
    grid: dict[str, list[Setting]]
    baseline: Annotated[dict[str, Setting], Field(description="where it is not the engine's default")] = {}
    start: Annotated[list[dict[str, Setting]], Field(description="what a search tries first")] = []
    artefact: Annotated[list[str], Field(description="knobs that name what is built")] = []


_STORED = TypeAdapter(tuple[Reading, float, str])
"""A reading, what building took, and when."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be recorded, and where."""

    head: Head
    whole: Space
    fixed: dict[str, Setting]
    rounds: int
    top_rounds: int
    deadline_s: float
    hopeless: float
    bench: Bench

    def variants(self) -> list[Variant]:
        """Every variant by the knobs of the grid, the baseline first."""
        space = Space(self.head.engine, self.head.device, self.head.knobs)
        names, values = list(self.head.grid), self.head.grid.values()
        product = (space.suggested(dict(zip(names, row, strict=True))) for row in itertools.product(*values))
        return list(dict.fromkeys((space.variant({}), *product)))

    def path(self, number: int, variant: Variant) -> Path:
        """Where one reading is kept."""
        return self.bench.folder / f"{number:02d}-{variant.id}.json"

    def missing(self) -> list[tuple[int, Variant]]:
        """Rounds still to be measured, in their order; those of the top once all others are known."""
        every = [each for number in range(self.rounds) for each in self._missing(number, self.variants())]
        tops = (self._missing(number, self._top(number)) for number in range(self.rounds, self.top_rounds))
        return every or next(filter(None, tops), [])

    def _missing(self, number: int, variants: Sequence[Variant]) -> list[tuple[int, Variant]]:
        order = [variants[0], *random.Random(number).sample(variants[1:], len(variants) - 1)]
        return [(number, variant) for variant in order if not self.settled(number, variant)]

    def _top(self, rounds: int) -> list[Variant]:
        """The baseline, and all that reads well enough and may be near the fastest that does by so many rounds."""
        table = self.table(rounds)
        speeds = {table.variant(row): table.speed(row) for row in table.rows if fits(table, row)}
        # Rows with fewer rounds were out of it before.
        known = {variant: speeds[variant] for variant in speeds if self.path(rounds - 1, variant).exists()}
        least = (1 - NEAR - _LUCK / math.sqrt(rounds)) * max(known.values(), default=0.0)
        return list(dict.fromkeys((table.baseline, *(v for v, speed in known.items() if speed >= least))))

    def settled(self, number: int, variant: Variant) -> bool:
        """Whether this round of it is kept, or an earlier one showed that it need not be measured."""
        if self.path(number, variant).exists():
            return True
        earlier = (self.path(before, variant) for before in range(number))
        return any(_hopeless(_read(path)) for path in earlier if path.exists())

    def fastest_s(self, pages: int) -> float:
        """The least time for that many first pages among what was read in full and well, infinite for none.

        Well is within the margin of the baseline, on all pages: a variant is not hopeless for being slower than one
        that nobody could deploy.
        """
        kept = [_read(path) for path in self.bench.folder.glob("[0-9]*-*.json")]
        whole = [reading for reading in kept if len(reading.errors) == len(self.bench.pages)]
        baseline = self.path(0, self.variants()[0])
        if not whole or not baseline.exists():
            return math.inf
        characters = sum(page.reference_chars for page in self.head.pages)
        allowed = sum(_read(baseline).errors) + CONSTRAINTS.max_cer_increase * characters
        return min(
            (
                reading.busy_s * sum(reading.page_s[:pages]) / sum(reading.page_s)
                for reading in whole
                if sum(reading.errors) <= allowed
            ),
            default=math.inf,
        )

    def record(self, number: int, variant: Variant) -> Reading:
        """Measure one round of one variant and keep it."""
        whole = self.whole.suggested({**self.fixed, **variant.settings})
        # One full call of every replica at the least, or the first pages say nothing.
        first = min(max(_FIRST_PAGES, block_pages([whole])), len(self.bench.pages))
        rest = range(first, len(self.bench.pages))

        # The baseline is read in full: what others were spared is made up for from it.
        fastest_s = math.inf if variant == self.variants()[0] else self.fastest_s(first)

        def slow(blocks: Sequence[Block]) -> str | None:
            times = blocks[0].busy_s / fastest_s
            return f"{times:.1f} times the time of the fastest so far" if times > self.hopeless else None

        began = time.perf_counter()
        outcome, note = measure(
            replace(self.bench, folder=self.bench.folder / "trial"),
            whole,
            [block for block in (range(first), rest) if block],
            Limits(self.deadline_s),
            stop=slow,
        )
        spent_s, build_s = time.perf_counter() - began, 0.0
        if isinstance(outcome, Failure):
            reading = Reading(round(spent_s, 4), failure=outcome)
        else:
            build_s = outcome.build_s
            errors = {s.page_id: s.characters.errors for s in self.bench.score(outcome.pages)}
            stages = dict.fromkeys(stage for page in outcome.pages for stage in page.stage_s)
            reading = Reading(
                round(spent_s - build_s, 4),
                round(outcome.cold_start_s - build_s, 4),
                round(outcome.wall_s, 4),
                tuple(round(_work_s(page), 4) for page in outcome.pages),
                tuple(errors[page.page_id] for page in outcome.pages),
                stage_s={
                    stage: round(sum(page.stage_s.get(stage, 0.0) for page in outcome.pages), 4)
                    for stage in stages
                },
                spare_s=tuple(round(block.spare_s, 4) for block in outcome.blocks),
                cut=note,
            )
        stored = (asdict(reading), build_s, datetime.now(UTC).isoformat(timespec="seconds"))
        write_atomic(self.path(number, variant), json.dumps(stored))
        return reading

    def table(self, rounds: int | None = None) -> Table:
        """All that was recorded so far, or of the first so many rounds."""
        rows = []
        for variant in self.variants():
            paths = [self.path(n, variant) for n in range(rounds or max(self.rounds, self.top_rounds))]
            stored = [_STORED.validate_json(path.read_bytes()) for path in paths if path.exists()]
            if stored:
                readings, builds, stamps = zip(*stored, strict=True)
                rows.append(Row(variant.settings, max(builds), stamps[0], readings))
        return Table(self.head, tuple(rows))


def prepare(path: Path, data: Sequence[str], folder: Path) -> Recording:
    """Read the space, choose its pages, refuse a folder that holds another recording. Raises UserError."""
    try:
        given = SpaceFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path} is not a space to record: {str(error).splitlines()[0]}") from error
    machine = detect()
    whole = Space.of(given.engine, resolve_device(given.device, machine), machine)
    pages, unseen = chosen_pages(
        [page for found in load(list(data)) for page in found.pages], given.search_pages, given.unseen_pages
    )
    versions = versions_of(load_engine(given.engine, machine))
    head = Head(
        path.stem,
        given.engine,
        whole.device,
        machine,
        versions,
        datetime.now(UTC).isoformat(timespec="seconds"),
        synthetic=False,
        knobs=tuple(_narrowed(whole, name, given) for name in given.grid),
        grid={name: tuple(values) for name, values in given.grid.items()},
        start=tuple(given.start),
        artefact=tuple(given.artefact),
        pages=tuple(
            TablePage(p.id, p.set, p.document, p.language, len(p.text or ""), p.id in unseen) for p in pages
        ),
    )
    references = tuple(
        ReferencePage(p.id, p.set, p.document, p.text or "", p.profile, language=p.language) for p in pages
    )
    folder.mkdir(parents=True, exist_ok=True)
    mark = json.dumps(
        [
            given.model_dump(exclude={"rounds", "top_rounds"}),
            fingerprint(machine, versions),
            [page.id for page in pages],
        ],
        sort_keys=True,
    )
    if not (folder / "of.json").exists():
        write_atomic(folder / "of.json", mark)
    elif (folder / "of.json").read_text(encoding="utf-8") != mark:
        raise UserError(f"{folder} holds another space, machine or page set; choose another --work")
    bench = Bench(tuple(pages), references, folder, machine)
    return Recording(
        head, whole, given.fixed, given.rounds, given.top_rounds, given.deadline_s, given.hopeless, bench
    )


def _work_s(page: PageRecord) -> float:
    """Seconds of the stages of a page: how long it took from end to end says how deep the queue was."""
    return sum(page.stage_s.values()) if page.stage_s.keys() > {"decode"} else page.seconds


def _read(path: Path) -> Reading:
    return _STORED.validate_json(path.read_bytes())[0]


def _hopeless(reading: Reading) -> bool:
    """Whether another round of it would be time lost."""
    timed_out = reading.failure is not None and reading.failure.kind is FailureKind.TIMEOUT
    return timed_out or bool(reading.cut)


def chosen_pages(pages: Sequence[PageRef], search: int, unseen: int) -> tuple[list[PageRef], set[str]]:
    """The pages with the least text, for a table is long enough, and the ids of those that stay unseen.

    No document is on both sides. Raises UserError where there are too few.
    """
    texts = sorted((page for page in pages if page.text), key=lambda page: (len(page.text or ""), page.id))
    short = texts[: 2 * max(search, unseen)]
    references = [
        ReferencePage(p.id, p.set, p.document, p.text or "", p.profile, language=p.language) for p in short
    ]
    halves = split_pages(references)
    if halves.overlap or len(halves.search) < search or len(halves.confirm) < unseen:
        raise UserError(
            f"{len(texts)} pages with text are too few for {search} and {unseen}; give more --data"
        )
    kept = [short[i] for i in halves.search[:search]]
    hidden = [short[i] for i in halves.confirm[:unseen]]
    return [*kept, *hidden], {page.id for page in hidden}


def _narrowed(whole: Space, name: str, given: SpaceFile) -> Knob:
    """A knob of the engine with the values of the grid and the baseline's as its default. Raises UserError."""
    if name not in whole.by_name:
        raise UserError(f"{given.engine} has no setting {name!r}: correct `grid`")
    knob = whole.by_name[name]
    values, default = given.grid[name], given.baseline.get(name, knob.default)
    if default not in values:
        raise UserError(
            f"{name}={default} of the baseline is not in the grid, and a search goes on from there: "
            "add it to `grid`, or name another in `baseline`"
        )
    if wrong := [value for value in values if not knob.domain.admits(value)]:
        raise UserError(f"{name}={wrong[0]} is not possible here: correct `grid`")
    # Conditions on settings that every variant shares are met, or the knob would not be worth recording.
    when = {other: allowed for other, allowed in knob.when.items() if other in given.grid}
    if isinstance(knob.domain, Choice):
        return replace(knob, domain=Choice(tuple(values)), default=default, when=when)
    numbers = tuple(sorted(value for value in values if not isinstance(value, str)))
    return replace(knob, domain=replace(knob.domain, values=numbers), default=default, when=when)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, or go on recording. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--pack", action="store_true")
    given = parser.parse_args(arguments)
    try:
        recording = prepare(given.space, given.data, given.work)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if not given.pack:
        _measure(recording, given.sample)
    if given.out and given.sample is None:
        write_table(recording.table(), given.out)
        print(f"{given.out}: {len(recording.table().rows)} variants, {given.out.stat().st_size >> 10} KiB")
    return 0


def _measure(recording: Recording, sample: int | None) -> None:
    took: list[float] = []
    while missing := recording.missing():
        took = []
        for number, variant in missing[:sample]:
            if recording.settled(number, variant):  # found hopeless since
                continue
            took.append(recording.record(number, variant).spent_s)
            low_min, high_min = minutes_left(took, len(missing) - len(took))
            print(
                f"{len(took)}/{len(missing)}: {took[-1]:.1f} s, {low_min:.0f} to {high_min:.0f} min left",
                flush=True,
            )
        if sample is not None:
            break
    if sample is not None and took:
        whole_min = minutes_left(took, recording.rounds * len(recording.variants()))
        print(
            f"the whole table, {len(recording.variants())} variants in {recording.rounds} rounds: "
            f"{whole_min[0]:.0f} to {whole_min[1]:.0f} min at the most, less what hopeless variants are spared"
        )


def minutes_left(took_s: Sequence[float], trials: int) -> tuple[float, float]:
    """The 95 % interval of the minutes that `trials` more take, given what a random few took (Student's t).

    The first of `took_s` is the baseline, often the slowest of all: it counts only where it is alone.
    """
    sample = took_s[1:] or took_s
    if not sample or not trials:
        return (0.0, 0.0)
    mean = fmean(sample)
    half = math.inf
    if len(sample) > 1:
        half = float(t.ppf(0.975, len(sample) - 1)) * stdev(sample) / math.sqrt(len(sample))
    return (max(0.0, mean - half) * trials / 60, (mean + half) * trials / 60)


if __name__ == "__main__":
    raise SystemExit(main())
