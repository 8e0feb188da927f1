"""The comparison: every contender on every table, over seeds and shares of the exhaustive wall time.

    python -m tests.bench.replay.compare [TABLE.json.gz]... [--seeds 20] [--out DIR] [--synthetic]

Prints a table, writes `search.json` and one plot a table.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

from scipy.stats import binomtest

from harness.errors import UserError
from tests.bench.replay.contenders import CONSTRAINTS, CONTENDERS, Result
from tests.bench.replay.synthetic import hard_table, synthetic_table
from tests.bench.replay.table import Row, Table, read_table

TABLES = Path(__file__).parent / "tables"
SHARES = (0.02, 0.05, 0.1, 0.2)
WHOLE = "grid"
"""The contender that is given all of the exhaustive time: what measuring everything once finds."""
NEAR = 0.02
HONEST = 0.93
"""Share of the intervals that must hold the true gain; 95 % is what they promise."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the whole table says, on the pages that no search sees."""

    variants: int
    exhaustive_s: float
    optimum: float
    """Pages/s of the fastest variant within the margin of the baseline's CER."""
    baseline: float
    near: int
    """Variants within 2 % of the optimum that meet the margin: with many, any search looks good."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one contender."""

    table: str
    contender: str
    share: float
    """Of the exhaustive wall time, as its budget."""
    seed: int
    spent: float
    """Share that it used."""
    trials: int
    gap: float
    """Of the optimum's speed that the choice lacks; the baseline stands for no choice."""
    violates: bool
    covered: bool | None
    """Whether the interval of the winner's gain holds the true one; None without an interval."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A contender at one budget, over seeds."""

    table: str
    contender: str
    share: float
    within: float
    """Share of seeds whose choice is within 2 % of the optimum and reads well enough."""
    median_gap: float
    worst_gap: float
    violations: int
    coverage: float | None
    """Of the intervals, the share that holds the true gain; None without any."""
    intervals: int


def truth(table: Table) -> Truth:
    """The optimum of a table. Raises UserError where its baseline has no measurement."""
    baseline = table.by_id.get(table.baseline.id)
    if baseline is None or not table.speed(baseline):
        raise UserError(f"{table.head.name} has no measured baseline: record it again")
    speeds = [table.true_speed(row) for row in table.rows if fits(table, row)]
    best = max(speeds)
    return Truth(
        len(table.rows),
        table.exhaustive_s(),
        best,
        table.true_speed(baseline),
        sum(speed >= (1 - NEAR) * best for speed in speeds),
    )


def fits(table: Table, row: Row) -> bool:
    """Whether a variant always works and reads as well as the bound asks, on the unseen pages.

    One that was cut short is not known to.
    """
    if not table.speed(row) or not table.is_whole(row):
        return False
    return table.cer(row) - table.cer(table.by_id[table.baseline.id]) <= CONSTRAINTS.max_cer_increase


def judged(table: Table, known: Truth, result: Result) -> tuple[float, bool, bool | None]:
    """Gap, violation and coverage of a result."""
    row = table.by_id[(result.best or table.baseline).id]
    speed = table.true_speed(row)
    covered = None
    if result.proof is not None:
        covered = result.proof.speedup.low <= speed / known.baseline <= result.proof.speedup.high
    return 1 - speed / known.optimum, not fits(table, row), covered


def outcomes(
    table: Table, seeds: int, shares: Sequence[float] = SHARES, names: Iterable[str] = tuple(CONTENDERS)
) -> list[Outcome]:
    """Every contender at every budget and seed."""
    known = truth(table)
    found = []
    for name in names:
        for share in (1.0,) if name == WHOLE else shares:
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        result = CONTENDERS[name](table, share * known.exhaustive_s, seed, Path(folder))
                    except UserError:  # the budget does not even hold the baseline
                        result = Result(None, share * known.exhaustive_s, 1)
                gap, violates, covered = judged(table, known, result)
                spent = result.spent_s / known.exhaustive_s
                found.append(
                    Outcome(table.head.name, name, share, seed, spent, result.trials, gap, violates, covered)
                )
    return found


def summaries(found: Sequence[Outcome]) -> list[Summary]:
    """One row a table, contender and budget, in order of appearance."""
    groups: dict[tuple[str, str, float], list[Outcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.table, outcome.contender, outcome.share), []).append(outcome)
    return [
        Summary(
            *key,
            within=fmean(o.gap <= NEAR and not o.violates for o in group),
            median_gap=median(o.gap for o in group),
            worst_gap=max(o.gap for o in group),
            violations=sum(o.violates for o in group),
            coverage=_share([o.covered for o in group if o.covered is not None]),
            intervals=sum(o.covered is not None for o in group),
        )
        for key, group in groups.items()
    ]


def _share(values: Sequence[bool]) -> float | None:
    return fmean(values) if values else None


def printed(known: Truth, rows: Sequence[Summary], synthetic: bool) -> str:
    """A text table."""
    mark = " (SYNTHETIC: a test of the bench, not a result)" if synthetic else ""
    lines = [
        f"{rows[0].table}{mark}: {known.variants} variants, {known.near} within 2 % of the optimum, "
        f"exhaustive {known.exhaustive_s / 60:.0f} min, optimum {known.optimum / known.baseline:.2f} x baseline",
        f"{'contender':<12}{'budget':>8}{'within 2 %':>12}{'median gap':>12}{'worst gap':>11}"
        f"{'violations':>12}{'coverage':>10}",
    ]
    for row in rows:
        coverage = "-" if row.coverage is None else f"{row.coverage:.0%}"
        lines.append(
            f"{row.contender:<12}{row.share:>8.0%}{row.within:>12.0%}{row.median_gap:>12.1%}"
            f"{row.worst_gap:>11.1%}{row.violations:>12}{coverage:>10}"
        )
    return "\n".join((*lines, *honesty(rows)))


def honesty(rows: Sequence[Summary]) -> list[str]:
    """Whether the intervals of each contender that gives any hold the true gain as often as they must."""
    lines = []
    for name in dict.fromkeys(row.contender for row in rows):
        mine = [row for row in rows if row.contender == name and row.coverage is not None]
        if count := sum(row.intervals for row in mine):
            held = round(sum(row.intervals * (row.coverage or 0.0) for row in mine))
            chance = binomtest(held, count).proportion_ci(method="wilson")
            lines.append(
                f"{name}: {held} of {count} intervals of the winner's gain hold the true one, {held / count:.1%} "
                f"(95 % interval {chance.low:.1%} to {chance.high:.1%}); asked for: {HONEST:.0%}"
            )
    return lines


def plot(rows: Sequence[Summary], path: Path, synthetic: bool) -> None:
    """Median gap, and coverage of the winner's interval, against the share of the exhaustive wall time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6.5), layout="constrained")
    axes, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    for name in dict.fromkeys(row.contender for row in rows):
        mine = [row for row in rows if row.contender == name]
        axes.plot(
            [100 * row.share for row in mine],
            [100 * row.median_gap for row in mine],
            marker="o",
            linewidth=2.5 if name == "this search" else 1.2,
            label=name,
        )
        proven = [row for row in mine if row.coverage is not None]
        below.plot(
            [100 * row.share for row in proven],
            [100 * (row.coverage or 0.0) for row in proven],
            marker="o",
            linewidth=2.5,
        )
    axes.axhline(100 * NEAR, color="grey", linestyle=":")
    below.axhline(100 * HONEST, color="grey", linestyle=":")
    below.set(
        xlabel="budget, % of the exhaustive wall time",
        ylabel="intervals that hold, %",
        ylim=(0, 105),
    )
    axes.set(
        xscale="log",
        ylabel="median gap to the optimum, %",
        title=rows[0].table + (" (SYNTHETIC)" if synthetic else ""),
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, default=Path("build/search"))
    parser.add_argument("--synthetic", action="store_true", help="on tables drawn from a model: a dry run")
    given = parser.parse_args(arguments)
    if given.synthetic:
        tables = [synthetic_table(0), synthetic_table(1), hard_table(0), hard_table(1)]
    else:
        tables = [read_table(path) for path in given.tables or sorted(TABLES.glob("*.json.gz"))]
    if not tables:
        print(f"no table in {TABLES}: record one with `python -m tests.bench.replay.record`, or --synthetic")
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    document = []
    for table in tables:
        found = outcomes(table, given.seeds, given.shares, given.contenders)
        known, rows = truth(table), summaries(found)
        print(printed(known, rows, table.head.synthetic), "\n", flush=True)
        plot(rows, given.out / f"{table.head.name}.png", table.head.synthetic)
        document.append(
            {
                "table": table.head.name,
                "synthetic": table.head.synthetic,
                "truth": asdict(known),
                "summaries": [asdict(row) for row in rows],
                "runs": [asdict(outcome) for outcome in found],
            }
        )
        (given.out / "search.json").write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
