"""What a run knows so far. Every trial is on the disk before the next begins."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engines.interface import Machine, Setting
from harness import objectives
from harness.accuracy.bootstrap import cer_increase
from harness.accuracy.scores import PageScore
from harness.bounds import keeps_bounds
from harness.data import PageRef
from harness.machine import Caution
from harness.measure import Bench, truth_caution
from harness.outcome import comparison_of_best, is_unequal
from harness.search import gate
from harness.search.confirm import best_of
from harness.search.gate import Judgement
from harness.search.noise import Noise, reckoned_sd
from harness.search.race import Race
from harness.search.yardstick import Pass, page_shares, usual_shares
from harness.store import RunFolder
from harness.values import (
    Block,
    Comparison,
    Failure,
    FailureKind,
    Measurement,
    PageRecord,
    Study,
    TrialResult,
    Variant,
)

_BLOCKS_TO_TELL = 2
"""Of a trial: the documents of the first are too few for an interval that something is sure by."""
_OF_ITS_END = (Caution.INTERRUPTED, Caution.FEW_TRIALS, Caution.UNCONFIRMED, Caution.UNEQUAL_SETS)
"""Cautions that say how a run ended: where it goes on, that is found anew."""


class Record:
    """Trials and what they are worth; `spent_s` gives the seconds since the run began.

    Variants that are equal in `text_knobs`, those that may change the text, read alike: the fullest trial of them
    says how. Side effect: `keep` writes each trial into the run folder.
    """

    def __init__(
        self,
        header: Study,
        pages: Sequence[PageRef],
        folder: RunFolder,
        machine: Machine,
        spent_s: Callable[[], float],
        text_knobs: Iterable[str],
    ) -> None:
        self._header, self._pages, self._folder, self._machine = header, tuple(pages), folder, machine
        self._spent_s = spent_s
        self._text_knobs = frozenset(text_knobs)
        self.objective = objectives.of(header)
        self.references = header.references
        self.trials: list[TrialResult] = []
        self.comparisons: tuple[Comparison, ...] = header.comparisons
        # What only led when a run was stopped, or was proven by a looser bound, is found again among the trials.
        proof = comparison_of_best(header)
        bound = header.constraints.max_cer_increase
        self.best: Variant | None = best_of([proof], bound, must_be_faster=False) if proof else None
        self.noise: Noise | None = None
        ended = {caution.sentence for caution in _OF_ITS_END}
        self._cautions = [caution for caution in header.cautions if caution not in ended]
        self._baseline: TrialResult | None = None
        self._read_by_baseline: list[PageRecord] = []
        self._scores: dict[int, list[PageScore]] = {}
        self._texts: dict[frozenset[tuple[str, Setting]], list[PageScore]] = {}
        self._judged: dict[str, list[Judgement]] = {}
        self._passes: list[Pass] = []
        """What others are measured by: the baseline first."""
        self._next = 0

    def study(self) -> Study:
        """The study as it stands."""
        study = replace(
            self._header,
            spent_s=self._spent_s(),
            references=self.references,
            trials=tuple(self.trials),
            comparisons=self.comparisons,
            best=self.best,
            noise_pct=100 * self.noise.sd if self.noise else None,
        )
        unequal = [Caution.UNEQUAL_SETS.sentence] if is_unequal(study) else []
        return replace(study, cautions=tuple(dict.fromkeys(self._cautions + unequal)))

    def recall(self, earlier: Sequence[TrialResult]) -> None:
        """Take over the trials of a run that goes on. A proven winner stays one within the bounds of now."""
        self.trials += earlier
        self._next = max((trial.number + 1 for trial in earlier), default=0)
        constraints = self._header.constraints
        if self.best and not all(keeps_bounds(known, constraints) for known in self.measured(self.best)):
            self.best = None

    def warn(self, caution: Caution) -> None:
        """Add a doubt about the run."""
        self._cautions.append(caution.sentence)

    def new_number(self) -> int:
        """The number of a trial that begins now."""
        self._next += 1
        return self._next - 1

    def keep(self, trial: TrialResult) -> None:
        """A trial has ended, however it did; one that went on comes in place of what it was."""
        self._folder.save_trial(trial)
        self.trials = [known for known in self.trials if known.number != trial.number]
        self.trials.append(trial)
        self._folder.save_study(self.study())

    @property
    def baseline(self) -> TrialResult:
        """What everything is compared with. Raises AssertionError before it is known."""
        assert self._baseline is not None  # noqa: S101  the first thing that a run measures
        return self._baseline

    def set_baseline(self, trial: TrialResult) -> None:
        """All trials are judged against this one, which was measured: from now on, and those so far."""
        self._baseline = trial
        if doubt := truth_caution(self._header.references):
            self.warn(doubt)
        self.learn_references(self.measured_baseline.pages)
        for proof in self.measured(trial.variant):  # of a run that was taken up again
            self.learn_references(proof.pages)
        self._passes = [Pass(0.0, page_shares(self.measured_baseline, self.objective))]
        for known in self.trials:
            if known.phase != "confirm" or self.refutes(known):
                self.judge(known)

    def refutes(self, trial: TrialResult) -> bool:
        """Whether a trial of the proof says that its variant fails: the memory it lacked, others may have had."""
        failure = trial.outcome
        if not isinstance(failure, Failure) or failure.kind is FailureKind.OOM:
            return False
        return trial.variant != self.baseline.variant

    def learn_references(self, records: Iterable[PageRecord]) -> None:
        """Where no page has ground truth, what the baseline reads stands in for it: `records` are more of that."""
        self._read_by_baseline += records
        bench = replace(self.bench(), references=self._header.references)
        self.references = bench.with_references(self._read_by_baseline).references

    @property
    def measured_baseline(self) -> Measurement:
        """The baseline's figures."""
        outcome = self.baseline.outcome
        assert isinstance(outcome, Measurement)  # noqa: S101  set_baseline takes no other
        return outcome

    @property
    def must_be_faster(self) -> bool:
        """Whether a variant is worth anything only where it is faster than the baseline.

        Not where the baseline misses a bound on latency or memory: whatever meets it is better.
        """
        return keeps_bounds(self.measured_baseline, self._header.constraints)

    def measured(self, variant: Variant) -> list[Measurement]:
        """What all trials of a variant measured."""
        outcomes = (trial.outcome for trial in self.trials if trial.variant == variant)
        return [outcome for outcome in outcomes if isinstance(outcome, Measurement)]

    @property
    def judgements(self) -> list[Judgement]:
        """Of the baseline and of what the search tried, one of each variant."""
        return [gate.together(alike) for alike in self._judged.values()]

    def judge(self, trial: TrialResult) -> Judgement:
        """What a variant is worth beside the baseline by this trial of it and those before.

        A trial that ran out of time says nothing of it, and is not kept in mind.
        """
        judgement = gate.judge(
            trial,
            self._totals_beside(trial.outcome),
            self._header.constraints,
            self._read(trial),
            self._scored(self.baseline),
            self.objective,
        )
        if trial.ran_out_of_time:
            return judgement
        outcome = trial.outcome
        if trial is not self.baseline and isinstance(outcome, Measurement) and self._is_whole(outcome):
            self._passes.append(Pass(judgement.log_speedup, page_shares(outcome, self.objective)))
        alike = self._judged.setdefault(trial.variant.id, [])
        alike.append(judgement)
        return gate.together(alike)

    def race(self, leader: Judgement | None) -> Race:
        """Of a trial against the leader; where that is not sure, against what is worth a proof beside it."""
        sure = leader is not None and leader.feasible
        rival = 0.0
        if leader:
            rival = leader.log_speedup if sure else leader.trifle
        return Race(
            self.objective,
            self._totals(rival),
            math.exp(rival),
            sure,
            reckoned_sd(self.noise),
            self.must_be_faster,
        )

    def _totals(self, log_gain: float) -> dict[str, float]:
        """The baseline's total of the objective by page, spread as variants that gain `log_gain` spread theirs."""
        total = self.objective.total(self.measured_baseline.blocks)
        return {page: total * share for page, share in usual_shares(self._passes, log_gain).items()}

    def _totals_beside(self, outcome: Measurement | Failure) -> dict[str, float]:
        """What a trial is compared with."""
        totals = self._totals(0.0)
        if isinstance(outcome, Failure) or self._is_whole(outcome):
            return totals
        return self._totals(gate.log_gain(outcome, totals, self.objective))

    def _is_whole(self, outcome: Measurement) -> bool:
        """Whether it read every page of the search."""
        return {page.page_id for page in outcome.pages} == self._passes[0].shares.keys()

    def knows_text_of(self, variant: Variant) -> bool:
        """Whether some trial has shown how it reads every page of the search: only its speed is to be measured."""
        return len(self._texts.get(self._text_settings(variant), ())) == len(self.measured_baseline.pages)

    def reads_worse(self, blocks: Sequence[Block]) -> str | None:
        """Why to give up a trial after these blocks: it surely exceeds the bound on CER. None to go on."""
        if len(blocks) < _BLOCKS_TO_TELL:
            return None
        scores = self.bench().score([page for block in blocks for page in block.pages])
        read = {score.page_id for score in scores}
        same = [score for score in self._scored(self.baseline) if score.page_id in read]
        if not any(score.characters.reference_length for score in same):
            return None
        surely = cer_increase(same, scores).low > self._header.constraints.max_cer_increase
        return f"dropped after {len(scores)} pages: reads worse for sure" if surely else None

    def _text_settings(self, variant: Variant) -> frozenset[tuple[str, Setting]]:
        return frozenset(
            (name, value) for name, value in variant.settings.items() if name in self._text_knobs
        )

    def _read(self, trial: TrialResult) -> list[PageScore]:
        """The scores of its pages, and of others by a trial that reads alike, as far as both have read the same."""
        own = self._scored(trial)
        known = self._texts.setdefault(self._text_settings(trial.variant), own)
        errors = {score.page_id: score.characters.errors for score in known}
        if len(own) > len(known):
            self._texts[self._text_settings(trial.variant)] = own
        elif own and all(errors.get(score.page_id) == score.characters.errors for score in own):
            return known
        return own

    def bench(self, folder: Path | None = None) -> Bench:
        """All pages, with `folder` for what is written meanwhile."""
        return Bench(
            self._pages,
            self.references,
            folder or self._folder.root,
            self._machine,
            self._header.seed,
            self.objective,
        )

    @property
    def index(self) -> Mapping[str, int]:
        """Index of each page by its id."""
        return {reference.page_id: index for index, reference in enumerate(self.references)}

    def _scored(self, trial: TrialResult) -> list[PageScore]:
        if isinstance(trial.outcome, Failure):
            return []
        if trial.number not in self._scores:
            self._scores[trial.number] = self.bench().score(trial.outcome.pages)
        return self._scores[trial.number]
