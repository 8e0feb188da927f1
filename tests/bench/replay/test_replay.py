"""The replay bench on tables drawn from a model: what it plays back, what it calls the truth, who wins."""

import gzip
import itertools
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import (
    Literal,
    NotRequired,  # pydantic takes that of typing from Python 3.12 on
)

import jiwer
import pytest
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from harness.errors import UserError
from harness.measure import Bench, Limits, SideFailedError
from harness.values import Failure, FailureKind, Measurement
from tests.bench.replay import compare
from tests.bench.replay.contenders import CONTENDERS, Result
from tests.bench.replay.replayer import Replay, with_edits
from tests.bench.replay.synthetic import hard_table, synthetic_table
from tests.bench.replay.table import Table, read_table, write_table

TABLE = synthetic_table()


def bench(lab: Replay, folder: Path) -> Bench:
    return Bench(lab.pages, lab.references, folder, lab.table.head.machine)


def quiet(table: Table) -> Table:
    """The same table with one round of each variant, so that a replay draws nothing but its speed."""
    return Table(table.head, tuple(replace(row, rounds=row.rounds[:1]) for row in table.rows))


def test_a_table_survives_its_file_and_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in "ab":
        write_table(TABLE, tmp_path / name)
    assert read_table(tmp_path / "a") == TABLE
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_size < 1_000_000


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "table")
    (tmp_path / "torn").write_bytes((tmp_path / "table").read_bytes()[:1000])
    (tmp_path / "text").write_text("{}")
    for name in ("torn", "text", "missing"):
        with pytest.raises(UserError, match="not a replay table"):
            read_table(tmp_path / name)


class _Times(TypedDict):
    compilation_time: NotRequired[float]
    runtimes: NotRequired[list[object]]
    framework: NotRequired[float]
    search_algorithm: NotRequired[float]
    validation: NotRequired[float]


class _Measured(TypedDict):
    name: NotRequired[str]
    value: NotRequired[float | str | list[object]]
    unit: NotRequired[str]


class _Result(TypedDict):
    timestamp: NotRequired[str]
    configuration: dict[str, object]
    objectives: NotRequired[list[object]]
    times: _Times
    invalidity: Literal["timeout", "compile", "runtime", "correctness", "constraints", "correct"]
    correctness: float
    measurements: NotRequired[list[_Measured]]


class _T4(TypedDict):
    """What Kernel Tuner's schema of T4 results 1.0.0 asks for; it admits any key besides."""

    __pydantic_config__ = ConfigDict(strict=True)  # type: ignore[misc]

    schema_version: str
    results: list[_Result]


def test_a_table_is_a_file_of_the_t4_format(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "table")
    document = TypeAdapter(_T4).validate_json(gzip.decompress((tmp_path / "table").read_bytes()))
    assert document["schema_version"] == "1.0.0"
    assert len(document["results"]) == len(TABLE.rows)
    assert {result["invalidity"] for result in document["results"]} == {"correct", "runtime"}


@pytest.mark.parametrize(("length", "edits"), [(10, 0), (10, 3), (10, 10), (10, 14), (1, 5)])
def test_the_stand_in_text_has_the_recorded_number_of_edits(length: int, edits: int) -> None:
    counted = jiwer.process_characters("a" * length, with_edits(length, edits))
    assert counted.substitutions + counted.insertions + counted.deletions == edits


def test_a_replayed_trial_is_the_recorded_one_at_another_speed_and_takes_its_time(tmp_path: Path) -> None:
    table = quiet(TABLE)
    lab = Replay(table, 0)
    outcome, _ = lab.measure(bench(lab, tmp_path), table.baseline, [range(len(lab.pages))], Limits(1e6))
    assert isinstance(outcome, Measurement)
    row = table.by_id[table.baseline.id]
    (reading,) = row.rounds
    seen = [i for i, page in enumerate(table.head.pages) if not page.unseen]
    factors = [page.seconds / reading.page_s[i] for page, i in zip(outcome.pages, seen, strict=True)]
    assert factors == pytest.approx([factors[0]] * len(seen))
    speed = len(reading.page_s) / (factors[0] * reading.busy_s)
    off = math.log(speed / table.true_speed(row))
    assert min(abs(off - each) for each in table.deviations) < 1e-9
    scores = bench(lab, tmp_path).score(outcome.pages)
    assert [score.characters.errors for score in scores] == [reading.errors[i] for i in seen]
    assert lab.now_s() == pytest.approx(outcome.cold_start_s + sum(block.wall_s for block in outcome.blocks))
    assert not {page.page_id for page in outcome.pages} & {p.id for p in table.head.pages if p.unseen}


def test_processes_of_one_variant_are_as_fast_as_it_truly_is_on_average(tmp_path: Path) -> None:
    lab = Replay(TABLE, 0)
    logs = []
    for _ in range(400):
        outcome, _ = lab.measure(bench(lab, tmp_path), TABLE.baseline, [range(len(lab.pages))], Limits(1e6))
        assert isinstance(outcome, Measurement)
        logs.append(math.log(outcome.pages_per_second))
    seen = [i for i, page in enumerate(TABLE.head.pages) if not page.unseen]
    share = sum(TABLE.shares[i] for i in seen)
    true = math.log(
        TABLE.true_speed(TABLE.by_id[TABLE.baseline.id]) * len(seen) / len(TABLE.head.pages) / share
    )
    assert fmean(logs) == pytest.approx(true, abs=4 * stdev(logs) / math.sqrt(len(logs)))


def test_only_the_first_trial_that_needs_an_artefact_pays_for_it(tmp_path: Path) -> None:
    lab = Replay(TABLE, 0)
    space = TABLE.space
    builds = []
    for prefetch in (0, 1):
        variant = space.variant({"runtime": "fast", "prefetch": prefetch})
        outcome, _ = lab.measure(bench(lab, tmp_path), variant, [[0]], Limits(1e6))
        assert isinstance(outcome, Measurement)
        builds.append(outcome.build_s)
    assert builds == [2.0, 0.0]


def test_failures_and_deadlines_cost_their_time(tmp_path: Path) -> None:
    lab = Replay(TABLE, 0)
    crash = TABLE.space.variant({"replicas": 2, "batch": 16})
    outcome, _ = lab.measure(bench(lab, tmp_path), crash, [[0]], Limits(1e6))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, lab.now_s()) == (FailureKind.OOM, 4.0)
    with pytest.raises(SideFailedError) as failed:
        lab.interleaved_round(bench(lab, tmp_path), [TABLE.baseline, crash], [0, 1, 2, 3], 0, Limits(1e6))
    assert failed.value.side == 1
    before = lab.now_s()
    outcome, _ = lab.measure(bench(lab, tmp_path), TABLE.baseline, [range(12)], Limits(3.0))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TIMEOUT
    assert lab.now_s() - before == pytest.approx(3.0)


def test_the_optimum_is_the_fastest_of_those_that_read_the_unseen_pages_well_by_brute_force() -> None:
    known = compare.truth(TABLE)
    unseen = [i for i, page in enumerate(TABLE.head.pages) if page.unseen]
    shipped = TABLE.by_id[TABLE.baseline.id]
    best = 0.0
    for row in TABLE.rows:
        if any(reading.failure for reading in row.rounds):
            continue
        more = sum(row.rounds[0].errors[i] - shipped.rounds[0].errors[i] for i in unseen)
        if more / sum(TABLE.head.pages[i].reference_chars for i in unseen) > 0.002:
            continue
        best = max(best, TABLE.true_speed(row))
    assert known.optimum == pytest.approx(best)
    assert 1 <= known.near < 0.05 * known.variants


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_repeats_itself_by_its_seed_and_keeps_to_its_budget(name: str, tmp_path: Path) -> None:
    budget_s = 0.04 * TABLE.exhaustive_s()
    first, second = (CONTENDERS[name](TABLE, budget_s, 7, tmp_path / folder) for folder in "ab")
    assert first == second
    assert first.spent_s <= budget_s
    assert first.trials > 2


def test_pages_that_a_hopeless_variant_was_spared_are_made_up_for_from_the_baseline() -> None:
    table = quiet(TABLE)
    slow = table.space.variant({"batch": 1})
    (whole,) = table.by_id[slow.id].rounds
    model = table.by_id[table.baseline.id].rounds[0]
    share = sum(model.page_s[:4]) / sum(model.page_s)
    cut = replace(
        whole,
        wall_s=share * whole.wall_s,
        page_s=whole.page_s[:4],
        errors=whole.errors[:4],
        stage_s={stage: share * seconds for stage, seconds in whole.stage_s.items()},
        cut="5.0 times the time of the fastest so far",
    )
    rows = tuple(replace(row, rounds=(cut,)) if row.settings == slow.settings else row for row in table.rows)
    (made_up,) = Table(table.head, rows).readings(Table(table.head, rows).by_id[slow.id])
    assert made_up.wall_s == pytest.approx(whole.wall_s)
    assert sum(made_up.page_s[:4]) == pytest.approx(sum(whole.page_s[:4]))
    assert made_up.errors == (*whole.errors[:4], *model.errors[4:])
    assert sum(made_up.stage_s.values()) == pytest.approx(sum(whole.stage_s.values()))


def test_pages_that_share_a_call_are_told_apart_as_the_baseline_does() -> None:
    table = quiet(TABLE)
    model = table.by_id[table.baseline.id].rounds[0]
    (other,) = table.by_id[table.space.variant({"batch": 1}).id].rounds
    even = replace(other, page_s=(sum(other.page_s) / len(other.page_s),) * len(other.page_s))
    told = table.whole(even)
    assert told.wall_s == other.wall_s
    factor = sum(other.page_s) / sum(model.page_s)
    assert told.page_s == pytest.approx([factor * seconds for seconds in model.page_s])


def test_a_replay_tells_the_stages_of_its_pages(tmp_path: Path) -> None:
    table = quiet(hard_table())
    lab = Replay(table, 0)
    outcome, _ = lab.measure(bench(lab, tmp_path), table.baseline, [range(len(lab.pages))], Limits(1e6))
    assert isinstance(outcome, Measurement)
    for page in outcome.pages:
        assert sum(page.stage_s.values()) == pytest.approx(page.seconds)
        assert page.stage_s["recognise"] > page.stage_s["detect"] > page.stage_s["decode"]


def test_what_filling_the_ends_of_blocks_took_is_paid_for_and_not_counted(tmp_path: Path) -> None:
    plain = quiet(TABLE)
    filled = Table(
        plain.head,
        tuple(
            replace(
                row, rounds=tuple(replace(r, wall_s=r.wall_s + 1.0, spare_s=(0.6, 0.4)) for r in row.rounds)
            )
            for row in plain.rows
        ),
    )

    def read(table: Table) -> tuple[float, float]:
        lab = Replay(table, 0)
        blocks = [range(4), range(4, 8), range(8, 12)]
        outcome, _ = lab.measure(bench(lab, tmp_path), table.baseline, blocks, Limits(1e6))
        assert isinstance(outcome, Measurement)
        return outcome.pages_per_second, lab.now_s()

    (speed, spent_s), (speed_filled, spent_filled_s) = read(plain), read(filled)
    assert speed_filled == pytest.approx(speed)
    assert spent_filled_s == pytest.approx(spent_s + 3 * 0.5)  # half a second a block
    assert filled.speed(filled.by_id[filled.baseline.id]) == pytest.approx(
        plain.speed(plain.by_id[plain.baseline.id])
    )


@pytest.mark.parametrize("path", sorted(compare.TABLES.glob("*.json.gz")), ids=lambda path: path.name)
def test_a_recorded_table_holds_every_variant_of_its_space(path: Path) -> None:
    table = read_table(path)
    known = compare.truth(table)
    assert not table.head.synthetic
    assert known.variants >= 200
    assert known.optimum > known.baseline
    settings = {variant.id for variant in map(table.variant, table.rows)}
    assert {table.space.suggested(dict(start)).id for start in table.head.start} <= settings
    grid = itertools.product(*table.head.grid.values())
    assert {
        table.space.suggested(dict(zip(table.head.grid, row, strict=True))).id for row in grid
    } == settings


def test_the_hard_table_has_what_its_model_promises() -> None:
    table = hard_table()
    known = compare.truth(table)
    kinds = {r.failure.kind for row in table.rows for r in row.rounds if r.failure}
    assert kinds == {FailureKind.OOM, FailureKind.CRASH}
    assert 200 <= known.variants <= 600
    assert known.near < 0.05 * known.variants
    best = max((row for row in table.rows if compare.fits(table, row)), key=table.true_speed).settings
    assert (best["replicas"], best["threads"], best["runtime"]) == (2, 1, "fast")


def test_the_honesty_of_the_intervals_is_counted_over_all_budgets() -> None:
    rows = [
        compare.Summary("t", "this search", share, 1.0, 0.0, 0.0, 0, coverage=held, intervals=20)
        for share, held in ((0.02, 0.9), (0.05, 1.0))
    ]
    (line,) = compare.honesty([*rows, compare.Summary("t", "grid", 0.05, 1.0, 0.0, 0.0, 0, None, 0)])
    assert line.startswith("this search: 38 of 40 intervals")
    assert "95.0%" in line
    assert line.endswith("asked for: 93%")


def test_the_whole_grid_with_all_the_time_and_no_noise_finds_the_optimum(tmp_path: Path) -> None:
    table = quiet(TABLE)
    result = CONTENDERS["grid"](table, 1.1 * table.exhaustive_s(), 0, tmp_path)
    gap, violates, _ = compare.judged(table, compare.truth(table), result)
    assert gap < 0.05
    assert not violates


def test_no_choice_counts_as_the_baseline_and_a_bad_reader_as_a_violation() -> None:
    known = compare.truth(TABLE)
    gap, violates, covered = compare.judged(TABLE, known, Result(None, 0.0, 0))
    assert gap == pytest.approx(1 - known.baseline / known.optimum)
    assert (violates, covered) == (False, None)
    bold = TABLE.space.variant({"rec_model": "tiny"})
    assert compare.judged(TABLE, known, Result(bold, 0.0, 0))[1]


def test_the_comparison_writes_its_figures_and_says_that_synthetic_ones_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--synthetic", "--seeds", "1", "--shares", "0.02", "--contenders", "random", "grid"]
    assert compare.main([*given, "--out", str(tmp_path)]) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert (tmp_path / "search.json").stat().st_size > 0
    assert (tmp_path / "synthetic-0.png").read_bytes().startswith(b"\x89PNG")
