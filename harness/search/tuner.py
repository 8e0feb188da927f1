"""The main job: measure the baseline, search under a wall-clock budget, prove the winner.

Everything counts against the budget. What is measured is on the disk before the next trial begins, so a run that
is killed goes on with `--resume`.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from engines.interface import Machine
from harness import objectives
from harness.accuracy.scores import PageScore
from harness.data import PageRef
from harness.errors import UserError
from harness.experiments import Experiment
from harness.machine import Caution
from harness.measure import Bench, block_pages
from harness.objectives import THROUGHPUT
from harness.search import gate, plan
from harness.search.confirm import side_by_side, winner
from harness.search.gate import Judgement
from harness.search.lab import Lab, ThisMachine
from harness.search.proposals import Proposals
from harness.search.shared import Company, SharedStudy
from harness.space import Space
from harness.store import RunFolder
from harness.values import (
    Block,
    Comparison,
    Failure,
    FailureKind,
    Measurement,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
)

_SLOWER_AT_ONCE = 1.35
_SLOWER = 1.15
"""A trial is dropped where it needs this many times the incumbent's time for the same pages, after its first block
and later. Trials minutes apart differ by up to 16 % for nothing; the confirmation is where small gains are told."""
_HANG_FACTOR = 3.0
_SHORTEST_DEADLINE_S = 15.0
_MAX_FINALISTS = 3


class Listener(Protocol):
    """Who wants to know how the search goes. Every method may do nothing."""

    def phase(self, name: str) -> None:
        """A phase begins: `baseline`, `search` or `confirm`."""

    def trial(self, number: int, variant: Variant, origin: str) -> None:
        """A trial begins."""

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None:
        """A trial has ended."""

    def round(self, number: int, rounds: int) -> None:
        """A round of the confirmation begins."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to tune, on what, and for how long."""

    header: Study
    """The study's facts, without trials or comparisons."""
    pages: tuple[PageRef, ...]
    """In the order of the header's references."""
    space: Space
    experiment: Experiment
    shared: SharedStudy | None = None
    """Where other machines work on the same; None keeps the study in the run folder alone."""


@dataclass(slots=True)
class _Progress:
    """What is known so far."""

    trials: list[TrialResult] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    scores: dict[int, list[PageScore]] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    best: Variant | None = None
    cautions: list[str] = field(default_factory=list)
    references: tuple[ReferencePage, ...] = ()
    baseline: int = 0
    """Number of the trial that all others are compared with: not 0 where the engine as shipped fails."""


class Tuner:
    """One run of the main job. Side effect: keeps every trial in the run folder."""

    def __init__(
        self,
        task: Task,
        folder: RunFolder,
        machine: Machine,
        listener: Listener,
        lab: Lab | None = None,
    ) -> None:
        self._task = task
        self._lab = lab or ThisMachine()
        self._folder = folder
        self._machine = machine
        self._listener = listener
        self._objective = objectives.of(task.header)
        self._began = self._lab.now_s() - task.header.spent_s
        self._split = plan.split_pages(task.header.references, task.header.seed)
        self._state = _Progress(
            references=task.header.references,
            comparisons=task.header.comparisons,
            best=task.header.best,
        )
        self._state.cautions += task.header.cautions
        if self._split.overlap:
            self._state.cautions.append(Caution.TOO_FEW_PAGES.sentence)

    def run(self, earlier: Sequence[TrialResult] = ()) -> Study:
        """Tune until the budget is spent; KeyboardInterrupt ends the run early with what is known."""
        try:
            self._run(earlier)
        except KeyboardInterrupt:
            self._state.cautions.append(Caution.INTERRUPTED.sentence)
            if self._state.best is None and self._state.judgements:
                leader = gate.incumbent(self._state.judgements)
                self._state.best = leader.trial.variant if leader else None
        return self.study()

    def study(self) -> Study:
        """The study as it stands."""
        return replace(
            self._task.header,
            spent_s=self._spent_s(),
            references=self._state.references,
            trials=tuple(self._state.trials),
            comparisons=self._state.comparisons,
            best=self._state.best,
            cautions=tuple(dict.fromkeys(self._state.cautions)),
        )

    def _run(self, earlier: Sequence[TrialResult]) -> None:
        header = self._task.header
        space = self._lab.prepared(self._task.space, self._task.pages, self._split)
        self._task = replace(self._task, space=space)
        self._state.trials += earlier
        baseline = self._baseline()
        proposals = self._proposals()
        self._listener.phase("search")
        for trial in self._state.trials:
            if trial.phase in ("baseline", "search"):
                proposals.recall(self._judge(trial, baseline))
        page_s = 1 / baseline.pages_per_second
        confirm_s = plan.confirmation_s(header.budget_s, (baseline.cold_start_s, page_s))
        while (left_s := self._left_s() - confirm_s) > baseline.cold_start_s:
            incumbent = gate.incumbent(self._state.judgements)
            proposal = proposals.ask(incumbent.trial.variant if incumbent else None)
            if proposal is None:
                break
            self._listener.trial(len(self._state.trials), proposal.variant, proposal.origin)
            trial = self._trial(proposal.variant, baseline, incumbent, left_s)
            judgement = self._judge(trial, baseline)
            proposals.tell(proposal, judgement)
            self._listener.judged(judgement, gate.incumbent(self._state.judgements))
        self._confirm(baseline)
        if self._state.best is None and self._state.baseline:
            # Nothing is proven faster, but what stands in for the engine as shipped works, which that does not.
            self._state.best = self._state.trials[self._state.baseline].variant

    def _proposals(self) -> Proposals | Company:
        task, header = self._task, self._task.header

        def alone() -> Proposals:
            storage = f"sqlite:///{self._folder.study_db}"
            return Proposals(task.space, task.experiment, storage, header.id, header.seed)

        if (shared := task.shared) is None:
            return alone()
        # Each process draws its own: with one seed, all would propose the same.
        seed = int(hashlib.sha256(f"{header.seed}/{header.id}".encode()).hexdigest()[:8], 16)
        return Company(
            lambda: Proposals(
                task.space,
                task.experiment,
                shared.storage,
                shared.name,
                seed,
                run=shared.run,
                tags=shared.tags,
                turn=shared.turn,
            ),
            alone,
            lambda: self._state.cautions.append(Caution.STORAGE_LOST.sentence),
        )

    def _baseline(self) -> Measurement:
        """Measure the engine as its authors ship it, or where that fails what stands in for it.

        A failure is kept as a trial. Starts are listed boldest first, so the last one that works is nearest to the
        engine as shipped, and the least likely to read worse than it would.
        """
        space, starts = self._task.space, self._task.experiment.start
        for variant in dict.fromkeys(
            (space.variant({}), *(space.suggested(start) for start in reversed(starts)))
        ):
            if self._state.trials and self._left_s() <= 0:
                break
            trial = self._tried(variant) or self._measure_baseline(variant)
            if isinstance(trial.outcome, Measurement):
                self._state.baseline = trial.number
                if trial.number:
                    self._state.cautions.append(Caution.STAND_IN.sentence)
                self._use_drift_where_no_text(trial.outcome)
                self._state.judgements.append(self._judge(trial, trial.outcome))
                return trial.outcome
        shipped = self._state.trials[0].outcome
        assert isinstance(shipped, Failure)  # noqa: S101  a measurement would have been returned
        raise UserError(_baseline_failed(shipped, self._task.header))

    def _tried(self, variant: Variant) -> TrialResult | None:
        """The trial of an earlier run in which this variant was, or was to be, the baseline."""
        tried = (trial for trial in self._state.trials if trial.phase == "baseline")
        return next((trial for trial in tried if trial.variant == variant), None)

    def _measure_baseline(self, variant: Variant) -> TrialResult:
        """Measure on as many pages of the search as the baseline's share of time allows."""
        if not self._state.trials:
            self._listener.phase("baseline")
        self._listener.trial(len(self._state.trials), variant, "baseline")
        share_s = plan.BASELINE_SHARE * self._task.header.budget_s
        pages = self._split.search[: plan.MAX_SEARCH_PAGES]
        began_s = self._lab.now_s()

        def spent(_: Sequence[Block]) -> str | None:
            over = self._lab.now_s() - began_s > share_s
            return "as many pages as its share of the budget allows" if over else None

        size = block_pages([variant])
        blocks = [pages[i : i + size] for i in range(0, len(pages), size)]
        return self._measure(variant, "baseline", blocks, deadline_s=self._left_s(), stop=spent)

    def _use_drift_where_no_text(self, baseline: Measurement) -> None:
        """Without any ground truth the baseline's own output is the reference: figures are then drift, not CER."""
        if any(reference.text for reference in self._state.references):
            return
        read = {page.page_id: page.text for page in baseline.pages}
        self._state.references = tuple(
            replace(reference, text=read.get(reference.page_id, "")) for reference in self._state.references
        )
        self._state.cautions.append(Caution.NO_GROUND_TRUTH.sentence)

    def _trial(
        self, variant: Variant, baseline: Measurement, incumbent: Judgement | None, left_s: float
    ) -> TrialResult:
        pages = [self._index[page.page_id] for page in baseline.pages]
        # While no variant is sure to be accurate enough, a slow one that is must be heard out.
        racing = incumbent is not None and incumbent.feasible
        gain = math.exp(incumbent.log_speedup) if incumbent and racing else 1.0
        shares = gate.page_totals(baseline, self._objective)

        def lost(blocks: Sequence[Block]) -> str | None:
            expected = sum(shares[page.page_id] for block in blocks for page in block.pages) / gain
            ratio = self._objective.total(blocks) / expected
            # What does not even look faster than the baseline cannot win, whatever it reads.
            limit = (_SLOWER_AT_ONCE if len(blocks) == 1 else _SLOWER) if racing else 1.0
            if ratio > limit:
                read = sum(len(block.pages) for block in blocks)
                rival = "the best" if racing else "the baseline"
                return f"dropped after {read} pages: {100 * (1 - 1 / ratio):.0f} % slower than {rival}"
            return None

        # Only the objective of time makes a hang of what takes longer than the best.
        hurry = gain if self._objective is THROUGHPUT else 1.0
        slowest_s = max(page.seconds for page in baseline.pages) / hurry
        return self._measure(
            variant,
            "search",
            plan.blocks_of(pages, max(plan.BLOCK_PAGES, block_pages([variant]))),
            deadline_s=left_s,
            page_s=max(_HANG_FACTOR * slowest_s, _SHORTEST_DEADLINE_S / plan.BLOCK_PAGES),
            stop=lost,
        )

    def _measure(
        self,
        variant: Variant,
        phase: str,
        blocks: Sequence[Sequence[int]],
        *,
        deadline_s: float,
        stop: Callable[[Sequence[Block]], str | None],
        page_s: float = math.inf,
    ) -> TrialResult:
        number = len(self._state.trials)
        began_s = self._spent_s()
        outcome, note = self._lab.measure(
            self._bench(self._folder.trial(number, variant.id)),
            variant,
            blocks,
            deadline_s=deadline_s,
            page_s=page_s,
            stop=stop,
        )
        trial = TrialResult(number, variant, phase, began_s, self._spent_s() - began_s, outcome, note)
        self._folder.save_trial(trial)
        self._state.trials.append(trial)
        self._folder.save_study(self.study())
        return trial

    def _judge(self, trial: TrialResult, baseline: Measurement) -> Judgement:
        bench = self._bench(self._folder.root)
        known = self._state.scores
        if isinstance(trial.outcome, Measurement) and trial.number not in known:
            known[trial.number] = bench.score(trial.outcome.pages)
        reference = self._state.baseline
        if reference not in known:
            known[reference] = bench.score(baseline.pages)
        judgement = gate.judge(
            trial,
            baseline,
            self._task.header.constraints,
            known.get(trial.number, []),
            known[reference],
            self._objective,
        )
        if trial.phase == "search":
            self._state.judgements.append(judgement)
        return judgement

    def _confirm(self, baseline: Measurement) -> None:
        """Baseline and finalists side by side, on pages that the search never saw, in rounds of fresh processes."""
        chosen = gate.finalists(self._state.judgements, _MAX_FINALISTS)
        if not chosen:
            return
        self._listener.phase("confirm")
        base = self._state.trials[self._state.baseline].variant
        page_s = 1 / baseline.pages_per_second
        costs = [
            (j.trial.outcome.cold_start_s - j.trial.outcome.build_s, 1 / j.trial.outcome.pages_per_second)
            for j in chosen
            if isinstance(j.trial.outcome, Measurement)
        ]
        # One full call of every replica will do where time is short; with more pages a block holds two.
        block = -(-block_pages([base, *(j.trial.variant for j in chosen)]) // 2)
        pages = self._split.confirm
        scheme = plan.plan_confirmation(
            self._left_s() - plan.REPORT_S,
            (baseline.cold_start_s, page_s),
            costs,
            min(block, len(pages)),
            len(pages),
        )
        if scheme is None:
            if self._state.best is not None:  # proven before the run was taken up again
                return
            self._state.cautions.append(Caution.UNCONFIRMED.sentence)
            return
        began_s = self._spent_s()
        read = side_by_side(
            self._lab,
            self._bench(self._folder.root / "confirm"),
            [base, *(j.trial.variant for j in chosen[: scheme.finalists])],
            pages,
            scheme,
            left_s=lambda: self._left_s() - plan.REPORT_S,
            begins=self._listener.round,
        )
        for variant, failure in read.failed:
            self._keep(variant, failure, began_s)
        if len(read.rounds) < plan.MIN_CONFIRM_ROUNDS:
            self._state.cautions.append(Caution.UNCONFIRMED.sentence)
            return
        for side, measurement in zip(read.sides, read.measured, strict=True):
            self._keep(side, measurement, began_s)
        found = read.comparisons(self._bench(self._folder.root))
        self._state.comparisons += found
        self._state.best = winner(read, found, self._task.header.constraints) or self._state.best

    def _keep(self, variant: Variant, outcome: Measurement | Failure, began_s: float) -> None:
        number = len(self._state.trials)
        trial = TrialResult(number, variant, "confirm", began_s, self._spent_s() - began_s, outcome)
        self._folder.save_trial(trial)
        self._state.trials.append(trial)

    @property
    def _index(self) -> Mapping[str, int]:
        return {reference.page_id: index for index, reference in enumerate(self._state.references)}

    def _bench(self, folder: Path) -> Bench:
        seed = self._task.header.seed
        return Bench(self._task.pages, self._state.references, folder, self._machine, seed, self._objective)

    def _spent_s(self) -> float:
        return self._lab.now_s() - self._began

    def _left_s(self) -> float:
        return self._task.header.budget_s - self._spent_s()


def _baseline_failed(failure: Failure, header: Study) -> str:
    if failure.kind is FailureKind.TIMEOUT:
        return (
            f"a budget of {header.budget_s:.0f} s is too short to measure {header.engine} as shipped; "
            "give a longer --budget"
        )
    return f"{header.engine} as shipped cannot be measured here ({failure.kind}): {failure.message}"
