"""The main job: measure the baseline, search under a wall-clock budget, prove the winner.

Everything counts against the budget. What a trial measured is on the disk before the next begins, so a run that is
killed goes on with `--resume`, and so is every round of the proof.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Protocol

from engines.interface import Machine, Settings
from harness.data import PageRef
from harness.devices import Device
from harness.errors import UserError
from harness.experiments import Experiment
from harness.machine import NOISY_PCT, Caution
from harness.measure import Limits, block_pages
from harness.objectives import THROUGHPUT
from harness.search import gate, plan
from harness.search.disturbance import undisturbed
from harness.search.gate import Judgement
from harness.search.lab import Lab, ThisMachine
from harness.search.lanes import Job, Lanes
from harness.search.noise import noise_key, reckoned_sd
from harness.search.proposals import Proposal, Proposals
from harness.search.proving import Proving
from harness.search.record import Record
from harness.search.shared import Company, SharedStudy
from harness.space import Space
from harness.store import RunFolder
from harness.values import Block, Failure, Measurement, Study, TrialResult, Variant

_HANG_FACTOR = 3.0
_STARTS_LEFT = 4
_SHORTEST_DEADLINE_S = 15.0
_FEW_TRIALS = 3
_BLOCKS_FOR_SPEED = 2
"""Of a trial whose text is known."""


class Listener(Protocol):
    """Who wants to know how the search goes. Every method may do nothing."""

    def phase(self, name: str) -> None:
        """A phase begins: `baseline`, `devices`, `search` or `confirm`."""

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
    devices: tuple[Device, ...] = ()
    """Where to measure side by side; none: as the variants' device says."""
    guesses: tuple[Settings, ...] = ()
    """Careful starts, from the hardware alone."""


class Tuner:
    """One run of the main job. Side effect: keeps every trial in the run folder.

    On several devices trials run side by side; the baseline and the proof are measured on the first.
    """

    def __init__(
        self,
        task: Task,
        folder: RunFolder,
        machine: Machine,
        listener: Listener,
        lab: Lab | None = None,
    ) -> None:
        self._task = task
        self._labs: list[Lab] = [lab] if lab else [ThisMachine(device) for device in task.devices or [None]]
        self._lab = self._labs[0]
        self._folder = folder
        self._listener = listener
        self._began = self._lab.now_s() - task.header.spent_s
        self._split = plan.split_pages(task.header.references)
        text_knobs = [knob.name for knob in task.space.knobs if knob.changes_text]
        self._record = Record(task.header, task.pages, folder, machine, self._spent_s, text_knobs)
        if self._split.overlap:
            self._record.warn(Caution.TOO_FEW_PAGES)

    def run(self, earlier: Sequence[TrialResult] = ()) -> Study:
        """Tune until the budget is spent; KeyboardInterrupt ends the run early with what is known."""
        try:
            self._run(earlier)
        except KeyboardInterrupt:
            self._record.warn(Caution.INTERRUPTED)
            undecided = self._record.best is None and not self._record.comparisons
            leader = gate.incumbent(self._record.judgements) if undecided else None
            if leader and leader.trial.variant != self._record.baseline.variant:
                self._record.best = leader.trial.variant
        if self._record.best is None and self._record.judgements and self._is_stand_in:
            # Nothing is proven faster, but what stands in for the engine as shipped works, which that does not.
            self._record.best = self._record.baseline.variant
        return self.study()

    def study(self) -> Study:
        """The study as it stands."""
        return self._record.study()

    def _run(self, earlier: Sequence[TrialResult]) -> None:
        self._space = self._lab.prepared(self._task.space, self._task.pages, self._split)
        self._record.recall(earlier)
        self._baseline()
        self._noise()
        proposals = self._proposals()
        self._search(proposals)
        self._confirm(proposals)

    def _baseline(self) -> None:
        """Measure the engine as its authors ship it, or where that fails what stands in for it.

        A failure is kept as a trial. Starts are listed boldest first, so the last one that works is nearest to the
        engine as shipped, and the least likely to read worse than it would.
        """
        starts = [*reversed(self._task.experiment.start), *self._task.guesses]
        for variant in dict.fromkeys((self._space.variant({}), *map(self._space.suggested, starts))):
            trial = self._tried(variant)
            if trial is None:
                if self._record.trials and self._left_s() <= 0:
                    break
                trial = self._measure_baseline(variant)
            if isinstance(trial.outcome, Measurement):
                self._record.set_baseline(trial)
                if self._is_stand_in:
                    self._record.warn(Caution.STAND_IN)
                return
        shipped = self.study().shipped
        assert shipped is not None  # noqa: S101  the loop tries it first
        raise UserError(_baseline_failed(shipped, self._task.header))

    @property
    def _is_stand_in(self) -> bool:
        """Whether the baseline is another variant than the engine as shipped, which fails here."""
        return self._record.baseline.variant != self._space.variant({})

    def _tried(self, variant: Variant) -> TrialResult | None:
        """The trial of an earlier run in which this variant was, or was to be, the baseline."""
        tried = (
            trial for trial in self._record.trials if trial.phase == "baseline" and not trial.ran_out_of_time
        )
        return next((trial for trial in tried if trial.variant == variant), None)

    def _measure_baseline(self, variant: Variant) -> TrialResult:
        """Measure on as many pages of the search as the baseline's share of time allows."""
        if not self._record.trials:
            self._listener.phase("baseline")
        share_s = plan.BASELINE_SHARE * self._task.header.budget_s
        pages = self._split.search[: plan.MAX_SEARCH_PAGES]
        began_s = self._lab.now_s()

        def spent(done: Sequence[Block]) -> str | None:
            next_s = fmean(block.wall_s for block in done)
            over = self._lab.now_s() - began_s + next_s > share_s
            return "as many pages as its share of the budget allows" if over else None

        blocks = plan.even_blocks(pages, block_pages([variant]))
        job = self._job(variant, "baseline", blocks, Limits(self._left_s(), page_s=math.inf), spent)
        self._listener.trial(job.number, variant, "baseline")
        trial = job.run(self._lab)
        self._record.keep(trial)
        return trial

    def _noise(self) -> None:
        """How much trials differ for nothing: from an earlier run, or from trials of the baseline where they fit."""
        record, header = self._record, self._task.header
        base, baseline = record.baseline.variant, record.measured_baseline
        block = self._split.search[: max(plan.BLOCK_PAGES, block_pages([base]))]
        record.noise = self._lab.noise(
            record.bench(self._folder.root / "noise"),
            base,
            block,
            key=noise_key(header, base, self._lab.label),
            trial_s=baseline.cold_start_s + len(block) / baseline.pages_per_second,
            budget_s=min(self._left_s(), plan.NOISE_SHARE * header.budget_s),
        )
        if record.noise and 100 * record.noise.sd > NOISY_PCT:
            record.warn(Caution.NOISY)

    def _search(self, proposals: Proposals | Company) -> None:
        """Trial after trial until the time for the proof has come."""
        record, costs, confirm_s = self._record, self._baseline_s, self._confirm_s
        least_s = plan.first_block_s(costs, 1.0, self._first_pages(record.baseline.variant))
        spare_s = self._left_s() - confirm_s - least_s
        lanes = Lanes(self._labs if self._undisturbed(spare_s) else self._labs[:1])
        self._listener.phase("search")
        for judgement in record.judgements:
            proposals.recall(judgement)

        def best_so_far() -> Judgement | None:
            return gate.incumbent(proposals.believed(record.judgements))

        with lanes.kept_by(record.keep):
            while True:
                left_s = self._left_s() - confirm_s
                leader = best_so_far()
                gain = math.exp(leader.log_speedup) if leader else 1.0
                # Most of what is tried differs little from the leader, and its blocks are as long.
                near = leader.trial.variant if leader else record.baseline.variant
                over = left_s <= plan.first_block_s(costs, gain, self._first_pages(near))
                more = lanes.free and not over
                if more and (proposal := proposals.ask(near if leader else None)):
                    job = self._trial(proposal, leader, left_s)
                    self._listener.trial(job.number, proposal.variant, proposal.origin)
                    lanes.start(proposal, job)
                elif lanes.busy:
                    asked, trial = lanes.next()
                    record.keep(trial)
                    judgement = record.judge(trial)
                    if trial.ran_out_of_time:
                        proposals.drop(asked)
                    else:
                        proposals.tell(asked, judgement)
                    said = replace(judgement, trial=trial)
                    self._listener.judged(said, best_so_far())
                else:
                    break
        if over and sum(trial.phase == "search" for trial in record.trials) < _FEW_TRIALS:
            record.warn(Caution.FEW_TRIALS)

    @property
    def _baseline_s(self) -> tuple[float, float]:
        """Its cold start and its seconds a page."""
        baseline = self._record.measured_baseline
        return baseline.cold_start_s, 1 / baseline.pages_per_second

    @property
    def _confirm_s(self) -> float:
        """What is kept back for the proof."""
        return plan.confirmation_s(self._task.header.budget_s, self._baseline_s, len(self._split.confirm))

    def _undisturbed(self, spare_s: float) -> bool:
        """Whether several devices may measure at the same time, as far as that can be told in `spare_s` seconds."""
        if len(self._labs) < 2 or spare_s <= 0:
            return False
        base = self._record.baseline.variant
        self._listener.phase("devices")
        alike = undisturbed(
            self._task.devices,
            self._record.bench(self._folder.root / "devices"),
            base,
            plan.even_blocks(self._split.search, block_pages([base])),
            deadline_s=min(spare_s, plan.DEVICES_SHARE * self._task.header.budget_s),
        )
        if not alike:
            self._record.warn(Caution.SHARED_DEVICES)
        return alike

    def _experiment(self) -> Experiment:
        """With the guesses from the hardware among the starts."""
        experiment, pages = self._task.experiment, len(self._record.measured_baseline.pages)
        trials = plan.trials_that_fit(self._left_s() - self._confirm_s, self._baseline_s, pages)
        starts = plan.starts_in_order(experiment.start, self._task.guesses, trials)
        return experiment.model_copy(update={"start": starts})

    def _proposals(self) -> Proposals | Company:
        task, header, experiment = self._task, self._task.header, self._experiment()
        noise_sd = reckoned_sd(self._record.noise)

        def alone() -> Proposals:
            storage = f"sqlite:///{self._folder.study_db}"
            return Proposals(self._space, experiment, storage, header.id, header.seed, noise_sd)

        if (shared := task.shared) is None:
            return alone()
        # Each process draws its own: with one seed, all would propose the same.
        seed = int(hashlib.sha256(f"{header.seed}/{header.id}".encode()).hexdigest()[:8], 16)
        return Company(
            lambda: Proposals(
                self._space,
                experiment,
                shared.storage,
                shared.name,
                seed,
                noise_sd,
                run=shared.run,
                tags=shared.tags,
                turn=shared.turn,
            ),
            alone,
            lambda: self._record.warn(Caution.STORAGE_LOST),
        )

    def _trial(self, proposal: Proposal, leader: Judgement | None, left_s: float) -> Job:
        """A trial of the search: raced against the leader, block by block."""
        variant = proposal.variant
        baseline, objective = self._record.measured_baseline, self._record.objective
        index = self._record.index
        race = self._record.race(leader)
        # Only the objective of time makes a hang of what takes longer than the best.
        slowest_s = max(page.seconds for page in baseline.pages) / (
            race.gain if objective is THROUGHPUT else 1.0
        )
        starts_s = [baseline.cold_start_s, *(known.cold_start_s for known in self._record.measured(variant))]
        blocks = plan.blocks_of([index[page.page_id] for page in baseline.pages], self._first_pages(variant))
        return self._job(
            variant,
            "search",
            # Where it is known how it reads, a few pages tell its speed as well as many of the same process.
            blocks[:_BLOCKS_FOR_SPEED] if self._record.knows_text_of(variant) else blocks,
            Limits(
                left_s,
                # Building models takes longer than any start of the baseline, but a hang must not take all the rest.
                start_s=max(_HANG_FACTOR * max(starts_s), left_s / _STARTS_LEFT),
                page_s=max(_HANG_FACTOR * slowest_s, _SHORTEST_DEADLINE_S / plan.BLOCK_PAGES),
            ),
            lambda done: race.lost(done) or self._record.reads_worse(done),
        )

    def _first_pages(self, variant: Variant) -> int:
        """Pages of the first block of its trial."""
        baseline = self._record.measured_baseline
        return plan.first_pages(1 / baseline.pages_per_second, block_pages([variant]), len(baseline.pages))

    def _job(
        self,
        variant: Variant,
        phase: str,
        blocks: Sequence[Sequence[int]],
        limits: Limits,
        stop: Callable[[Sequence[Block]], str | None],
    ) -> Job:
        number = self._record.new_number()
        bench = self._record.bench(self._folder.trial(number, variant.id))
        return Job(number, variant, phase, bench, blocks, limits, stop, self._spent_s)

    def _confirm(self, proposals: Proposals | Company) -> None:
        """Baseline and finalists side by side, on pages that the search never saw, in rounds of fresh processes."""
        proving = Proving(
            self._task.header, self._lab, self._folder, self._record, self._split.confirm, self._spent_s
        )
        if proof := proving.begun() or proving.planned(proposals.believed(self._record.judgements)):
            self._listener.phase("confirm")
            proving.go_on(proof, self._listener.round)

    def _spent_s(self) -> float:
        return self._lab.now_s() - self._began

    def _left_s(self) -> float:
        return self._task.header.budget_s - self._spent_s()


def _baseline_failed(trial: TrialResult, header: Study) -> str:
    failure = trial.outcome
    assert isinstance(failure, Failure)  # noqa: S101  a measurement is no failure
    if trial.ran_out_of_time:
        return (
            f"a budget of {header.budget_s:.0f} s is too short to measure {header.engine} as shipped; "
            "give a longer --budget"
        )
    return f"{header.engine} as shipped cannot be measured here ({failure.kind}): {failure.message}"
