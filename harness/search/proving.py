"""The last phase of a run: which finalists are proven, how, and what becomes of what was read."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from harness.comparing import has_drifted
from harness.machine import Caution
from harness.measure import Limits, block_pages, hang_limits
from harness.outcome import comparison_of_best
from harness.search import gate, plan, underway, yardstick
from harness.search.confirm import SideBySide, side_by_side, winner
from harness.search.gate import Judgement
from harness.search.lab import Lab
from harness.search.noise import reckoned_sd
from harness.search.record import Record
from harness.search.underway import Underway
from harness.store import RunFolder
from harness.values import Comparison, Failure, Measurement, Study, TrialResult, Variant


class Proving:
    """The proof on `pages`, which the search never saw; `spent_s` gives the seconds since the run began.

    Side effect: every round is kept in the run folder, and what they were together in the record.
    """

    def __init__(
        self,
        header: Study,
        lab: Lab,
        folder: RunFolder,
        record: Record,
        pages: Sequence[int],
        spent_s: Callable[[], float],
    ) -> None:
        self._header, self._lab, self._folder, self._record = header, lab, folder, record
        self._pages, self._spent_s = pages, spent_s
        self._tried = sum(trial.phase != "confirm" for trial in record.trials)

    def begun(self) -> Underway | None:
        """The proof of an earlier part of this run, where it is still the one to go on with.

        Also one that was judged: what it refused would else be proven anew, on fewer pages, until it passes.
        """
        proof = underway.known(self._folder.proof_json, self._tried, self._header.constraints)
        return proof if proof and len(proof.read.sides) > 1 else None

    def planned(self, judgements: Sequence[Judgement]) -> Underway | None:
        """The proof of as many finalists as there is time for; None for none."""
        record, baseline = self._record, self._record.measured_baseline
        chosen = gate.finalists(judgements, plan.MAX_FINALISTS, must_be_faster=record.must_be_faster)
        if not chosen:
            return None
        base = record.baseline.variant
        measured = [j.trial.outcome for j in chosen if isinstance(j.trial.outcome, Measurement)]
        gain_sd = fmean(yardstick.gain_sd(baseline, outcome, record.objective) for outcome in measured)
        # One full call of every replica will do where time is short; with more pages a block holds two.
        block = -(-block_pages([base, *(j.trial.variant for j in chosen)]) // 2)
        pages = len(self._pages)
        places, scheme = plan.plan_affordable(
            list(map(_start_and_page_s, measured)),
            lambda sides_s: plan.plan_confirmation(
                self._left_s(),
                _start_and_page_s(baseline),
                sides_s,
                min(block, pages),
                pages,
                log_gain=max(0.0, *(j.log_speedup for j in chosen)),
                noise_sd=reckoned_sd(record.noise),
                gain_sd=gain_sd,
            ),
        )
        chosen = [chosen[place] for place in places]
        if scheme is None:
            if record.best is None:  # else it was proven before the run was taken up again
                record.warn(Caution.UNCONFIRMED)
            return None
        sides = (base, *(j.trial.variant for j in chosen[: scheme.finalists]))
        return Underway(self._tried, self._header.constraints, self._spent_s(), scheme, SideBySide(sides))

    def go_on(self, proof: Underway, begins: Callable[[int, int], None]) -> None:
        """Read what it lacks, and judge it; `begins` hears the number of each round and of all of them.

        Raises KeyboardInterrupt where that ended it, after what was read until then is judged.
        """
        record, path = self._record, self._folder.proof_json

        def keep(read: SideBySide) -> None:
            underway.keep(path, replace(proof, read=read))
            self._folder.save_study(record.study())

        read = side_by_side(
            self._lab,
            record.bench(self._folder.root / "confirm"),
            proof.read,
            self._pages,
            proof.scheme,
            _hang_limits([known for side in proof.read.sides for known in record.measured(side)]),
            left_s=self._left_s,
            begins=begins,
            keep=keep,
        )
        for variant, failure in read.failed:
            self._keep(variant, failure, proof.began_s)
            if variant == record.best:  # proven before the run was taken up again, and refuted now
                record.best = None
        if len(read.rounds) >= plan.MIN_CONFIRM_ROUNDS:
            self._judge(read, proof.began_s)
        elif record.best is None:
            record.warn(Caution.UNCONFIRMED)
        if read.stopped:
            raise KeyboardInterrupt  # the run says that more was to come

    def _judge(self, read: SideBySide, began_s: float) -> None:
        """Choose the winner, and keep the proof in place of what was kept when it had fewer rounds."""
        record = self._record
        record.learn_references(read.measured[0].pages)
        found = read.comparisons(record.bench())
        if any(has_drifted(each.drift) for each in found):
            record.warn(Caution.DRIFT)
        standing = comparison_of_best(record.study())
        record.best = winner(
            read, found, self._header.constraints, standing, must_be_faster=record.must_be_faster
        )
        others = (known for known in record.comparisons if not any(_goes_on(each, known) for each in found))
        record.comparisons = (*others, *found)
        for side, measurement in zip(read.sides, read.measured, strict=True):
            self._keep(side, measurement, began_s)

    def _keep(self, variant: Variant, outcome: Measurement | Failure, began_s: float) -> None:
        known = next(
            (
                trial
                for trial in self._record.trials
                if (trial.variant, trial.phase, trial.started_s) == (variant, "confirm", began_s)
                and type(trial.outcome) is type(outcome)
            ),
            None,
        )
        if known and known.outcome == outcome:
            return
        number = known.number if known else self._record.new_number()
        wall_s = self._spent_s() - began_s
        trial = TrialResult(number, variant, "confirm", began_s, wall_s, outcome)
        self._record.keep(trial)
        if self._record.refutes(trial):
            self._record.judge(trial)

    def _left_s(self) -> float:
        """Until the report must be begun."""
        return self._header.budget_s - plan.REPORT_S - self._spent_s()


def _goes_on(comparison: Comparison, earlier: Comparison) -> bool:
    """Whether it is the earlier one with more rounds, or with as many."""
    ratios = earlier.log_ratios
    return comparison.b == earlier.b and comparison.log_ratios[: len(ratios)] == ratios


def _start_and_page_s(measured: Measurement) -> tuple[float, float]:
    """What a start takes once models are built, and what a page takes, with the end of its block."""
    return measured.cold_start_s - measured.build_s, measured.wall_s / len(measured.pages)


def _hang_limits(measured: Sequence[Measurement]) -> Limits:
    """By what the trials of its sides took."""
    slowest_s = max(page.seconds for outcome in measured for page in outcome.pages)
    return hang_limits(max(outcome.cold_start_s for outcome in measured), slowest_s)
