"""Who competes on a table. Each spends the clock of a replay and says what it would deploy at the end."""

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import TPESampler

from engines.interface import Choice, Setting
from harness.experiments import Experiment
from harness.measure import Bench, Limits
from harness.objectives import THROUGHPUT
from harness.outcome import comparison_of_best
from harness.search import gate, memory
from harness.search.gate import Judgement
from harness.search.tuner import Task, Tuner
from harness.search.yardstick import page_totals
from harness.store import RunFolder
from harness.values import Comparison, Constraints, Failure, Study, TrialResult, Variant
from tests.bench.replay.replayer import Replay
from tests.bench.replay.table import Table

CONSTRAINTS = Constraints()
_EARLIER_SHARE = 0.05
"""Of the exhaustive wall time: what the run before a warm one took."""
_OTHER_SEEDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """What a contender found."""

    best: Variant | None
    spent_s: float
    trials: int
    proof: Comparison | None = None
    """The baseline against the winner, where the contender proves anything."""


Contender = Callable[[Table, float, int, Path], Result]
"""Given a table, a budget in seconds, a seed and an empty folder."""


def this_search(table: Table, budget_s: float, seed: int, folder: Path) -> Result:
    """The tool's own search, proof included."""
    study, spent_s = _tuned(table, budget_s, seed, folder, sample=seed)
    return _proven(study, spent_s)


def this_search_warm(table: Table, budget_s: float, seed: int, folder: Path) -> Result:
    """The same after a run of yesterday, whose cost is not counted: another seed, and the noise of another day."""
    earlier_s = _EARLIER_SHARE * table.exhaustive_s()
    yesterday, _ = _tuned(table, earlier_s, seed + _OTHER_SEEDS, folder / "yesterday", sample=seed)
    study, spent_s = _tuned(table, budget_s, seed, folder / "today", (yesterday,), sample=seed)
    return _proven(study, spent_s)


def _proven(study: Study, spent_s: float) -> Result:
    return Result(study.best, spent_s, len(study.trials), comparison_of_best(study))


def _tuned(
    table: Table, budget_s: float, seed: int, folder: Path, earlier: Sequence[Study] = (), *, sample: int
) -> tuple[Study, float]:
    """A run of the main job on the table, and what it took in seconds."""
    lab = Replay(table, seed, sample)
    head = table.head
    header = Study(
        id=f"{seed:012x}",
        created=head.created,
        engine=head.engine,
        device=head.device,
        objective="throughput",
        budget_s=budget_s,
        spent_s=0.0,
        seed=seed,
        constraints=CONSTRAINTS,
        machine=head.machine,
        fingerprint="replay",
        versions=head.versions,
        data=(),
        references=lab.references,
        trials=(),
        comparisons=(),
        best=None,
    )
    known, _ = memory.starts(earlier, header, table.space, suggestions=0)
    experiment = Experiment(
        search={name: list(values) for name, values in head.grid.items()},
        start=[*known, *(dict(start) for start in head.start)],
    )
    task = Task(header, lab.pages, table.space, experiment)
    study = Tuner(task, RunFolder.create(folder), head.machine, _Silent(), lab).run()
    return study, lab.now_s()


class _Silent:
    def phase(self, name: str) -> None: ...

    def trial(self, number: int, variant: Variant, origin: str) -> None: ...

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None: ...

    def round(self, number: int, rounds: int) -> None: ...


class _Plain:
    """What every other contender does with a proposal: read all the pages once, believe the figure.

    A variant is accurate enough when the CER of its pages exceeds the baseline's by no more than the margin: the
    rule that a script without statistics would have.
    """

    def __init__(self, table: Table, budget_s: float, seed: int, folder: Path) -> None:
        self.table, self.budget_s = table, budget_s
        self.lab = Replay(table, seed)
        self.bench = Bench(self.lab.pages, self.lab.references, folder, table.head.machine, seed)
        self.judged: dict[str, Judgement] = {}
        self._totals: dict[str, float] = {}
        """Of the baseline, which is measured first, by page."""

    @property
    def left(self) -> bool:
        return self.lab.now_s() < self.budget_s

    def value(self, variant: Variant) -> float:
        """Log of the speed-up, the worst value for what fails or reads too badly."""
        if variant.id not in self.judged:
            self._measure(variant)
        judgement = self.judged[variant.id]
        return judgement.log_speedup if judgement.likely else gate.WORST

    def _measure(self, variant: Variant) -> None:
        limits = Limits(self.budget_s - self.lab.now_s())
        outcome, note = self.lab.measure(self.bench, variant, [range(len(self.lab.pages))], limits)
        if not self._totals:
            if isinstance(outcome, Failure):
                raise _OverError
            self._totals = page_totals(outcome, THROUGHPUT)
            self._scores = self.bench.score(outcome.pages)
        scores = [] if isinstance(outcome, Failure) else self.bench.score(outcome.pages)
        trial = TrialResult(len(self.judged), variant, "search", 0.0, 0.0, outcome, note)
        self.judged[variant.id] = gate.judge(trial, self._totals, CONSTRAINTS, scores, self._scores)

    def result(self) -> Result:
        fitting = [j for j in self.judged.values() if j.likely]
        best = max(fitting, key=lambda j: j.log_speedup, default=None)
        return Result(best.trial.variant if best else None, self.lab.now_s(), len(self.judged))


class _OverError(Exception):
    """The budget does not hold the baseline."""


Strategy = Callable[[_Plain, int], Iterator[Variant]]


def plain(strategy: Strategy) -> Contender:
    """A contender that measures the baseline, then whatever the strategy yields, until the budget is spent."""

    def run(table: Table, budget_s: float, seed: int, folder: Path) -> Result:
        state = _Plain(table, budget_s, seed, folder)
        try:
            state.value(table.baseline)
        except _OverError:
            return Result(None, state.lab.now_s(), 1)
        idle = 0
        for variant in strategy(state, seed):
            known = variant.id in state.judged
            state.value(variant)
            idle = idle + 1 if known else 0
            if not state.left or idle > 1000:
                break
        return state.result()

    return run


def grid(state: _Plain, seed: int) -> Iterator[Variant]:
    """Every variant of the table in the order of the grid: what it finds by then."""
    yield from (state.table.variant(row) for row in state.table.rows)


def random_search(state: _Plain, seed: int) -> Iterator[Variant]:
    """Every variant in random order."""
    rows = list(state.table.rows)
    random.Random(f"{seed}/random").shuffle(rows)
    yield from (state.table.variant(row) for row in rows)


def hill_climb(state: _Plain, seed: int) -> Iterator[Variant]:
    """From the baseline to the first better neighbour by one knob, again from a random place at a summit."""
    draw = random.Random(f"{seed}/climb")
    at = state.table.baseline
    while True:
        steps = list(_neighbours(state.table, at))
        draw.shuffle(steps)
        for step in steps:
            yield step
            if state.value(step) > state.value(at):
                at = step
                break
        else:
            at = state.table.variant(draw.choice(state.table.rows))
            yield at


def _neighbours(table: Table, at: Variant) -> Iterator[Variant]:
    space, found = table.space, set[str]()
    for knob in space.knobs:
        values: Sequence[Setting] = table.head.grid[knob.name]
        if knob.name not in at.settings:
            continue
        here = at.settings[knob.name]
        if not isinstance(knob.domain, Choice) and here in values:
            place = values.index(here)
            values = values[max(0, place - 1) : place + 2]
        for value in values:
            step = space.suggested({**at.settings, knob.name: value})
            if step != at and step.id in table.by_id and step.id not in found:
                found.add(step.id)
                yield step


def tpe(state: _Plain, seed: int) -> Iterator[Variant]:
    """Optuna's TPE as its manual starts it: default settings, worst value for what cannot be used."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=seed))
    head, space = state.table.head, state.table.space
    while True:
        trial = study.ask()
        settings: dict[str, Setting] = {}
        for knob in space.knobs:
            values = head.grid[knob.name]
            if isinstance(knob.domain, Choice):
                settings[knob.name] = trial.suggest_categorical(knob.name, list(values))  # type: ignore[assignment]
            else:
                settings[knob.name] = values[trial.suggest_int(knob.name, 0, len(values) - 1)]
        variant = space.suggested(settings)
        yield variant
        study.tell(trial, state.value(variant))


def gaussian_process(state: _Plain, seed: int) -> Iterator[Variant]:
    """Expected improvement over a Gaussian process (Matern 5/2, noise learnt), maximised over the whole table.

    scikit-learn's process, as Optuna's own asks for torch. Six random variants come first; what cannot be used is
    told as the worst seen among what can be, for a cliff would blur everything around it.
    """
    from scipy.stats import norm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    rows = [state.table.variant(row) for row in state.table.rows]
    points = dict(zip((variant.id for variant in rows), _encoded(state.table, rows), strict=True))
    order = random.Random(f"{seed}/process").sample(rows, len(rows))
    yield from order[:6]
    while True:
        known = [key for key in state.judged if key in points]
        usable = [state.judged[key].log_speedup for key in known if state.judged[key].likely]
        floor = min(usable, default=0.0)
        seen = np.array(
            [state.judged[key].log_speedup if state.judged[key].likely else floor for key in known]
        )
        scale = float(seen.std()) or 1.0
        kernel = Matern(nu=2.5, length_scale_bounds=(0.1, 100)) + WhiteKernel(0.01, (1e-5, 1.0))
        process = GaussianProcessRegressor(kernel, random_state=seed)
        with warnings.catch_warnings():
            # Where the fit ends at a bound, the bound is what was meant.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(np.array([points[key] for key in known]), (seen - seen.mean()) / scale)
        fresh = [variant for variant in order if variant.id not in state.judged]
        if not fresh:
            return
        mean, sd = process.predict(np.array([points[variant.id] for variant in fresh]), return_std=True)
        best = (max(usable, default=0.0) - seen.mean()) / scale
        z = (mean - best) / np.maximum(sd, 1e-9)
        yield fresh[int(np.argmax((mean - best) * norm.cdf(z) + sd * norm.pdf(z)))]


def _encoded(table: Table, variants: Sequence[Variant]) -> list[list[float]]:
    """Numbers as their place in the grid from 0 to 1, names as one column each; what does not act as 0."""

    def columns(variant: Variant) -> Iterator[float]:
        for knob in table.space.knobs:
            values = table.head.grid[knob.name]
            value = variant.settings.get(knob.name)
            if isinstance(knob.domain, Choice):
                yield from (float(value == other) for other in values)
            elif value in values:
                yield values.index(value) / max(1, len(values) - 1)
            else:
                yield 0.0

    return [list(columns(variant)) for variant in variants]


CONTENDERS: dict[str, Contender] = {
    "this search": this_search,
    "warm": this_search_warm,
    "random": plain(random_search),
    "TPE": plain(tpe),
    "GP": plain(gaussian_process),
    "hill climb": plain(hill_climb),
    "grid": plain(grid),
}
