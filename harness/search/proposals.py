"""What to try next: known good starts, the most promising step away from the incumbent, and Optuna's TPE.

All are trials of one Optuna study. TPE has a turn now and then, and every turn once no step promises a gain. What
comes out on top of noisy trials is the luckiest of them, so the rivals of the best are measured again where that
promises more than a step.

Several processes may share the study: each learns what the others measured, tries nothing of theirs a second time but
their best, which it measures itself before it relies on it.
"""

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState, create_trial

from engines.interface import Choice, Knob, Setting
from harness.experiments import Experiment
from harness.search import gate, ranking
from harness.search.gate import WORST, Judgement
from harness.search.noise import UNKNOWN
from harness.space import Space
from harness.values import Failure, FailureKind, Variant

_ATTEMPTS = 30
_SAMPLER_EVERY = 5
"""Turns from one of the sampler to its next: it leaps where no step leads."""
_PROMISING = 0.005
"""Expected gain of the log of the speed that a step must promise: a smaller one drowns in noise."""
_WORTH_REPEATING = 0.001
"""Expected gain of the log of the speed that measuring once more must promise."""
_RIVALS = 5
"""Of the fastest that meet the constraints: those that may be measured again."""
_STARTUP_TRIALS = 6
_STALE = timedelta(hours=1)
"""A trial of another process that has run for so long has died with it."""
_SETTINGS, _RUN, _BEGAN = "settings", "run", "began"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A variant to measure, with its place in the Optuna study."""

    variant: Variant
    trial: optuna.Trial
    origin: str
    """`start`, `sampler`, `neighbour`, `again` for a rival of the best, `shared` for the best of another process."""


class Proposals:
    """Ask for variants, tell what they were worth. Side effect: every one is kept in the Optuna study.

    `noise_sd` is the deviation of the log of the speed between trials of one variant.

    With `run`, which names this process's run, the study is shared with other runs on machines of one kind: `tags` go
    with every trial, and nothing is asked but within `turn`, which one process at a time holds.
    """

    def __init__(
        self,
        space: Space,
        experiment: Experiment,
        storage: str | BaseStorage,
        name: str,
        seed: int,
        noise_sd: float = UNKNOWN.sd,
        *,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._space = space
        restricted = [_restricted(knob, experiment) for knob in space.knobs]
        self._knobs = [knob for knob in restricted if len(knob.domain.values) > 1]
        self._fixed = {
            knob.name: knob.domain.values[0] for knob in restricted if len(knob.domain.values) == 1
        }
        self._draw = random.Random(f"{seed}/neighbours")
        self._noise_sd = noise_sd
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = get_storage(storage)
        self._run = run
        # Optuna refuses other choices within one study, and machines of one kind may still offer others.
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=f"{name}/{self._offer()}" if run else name,
            load_if_exists=run is not None,
            direction="maximize",
            sampler=TPESampler(
                multivariate=True, constant_liar=True, n_startup_trials=_STARTUP_TRIALS, seed=seed
            ),
        )
        for key, value in (tags or {}).items():
            self._study.set_user_attr(key, value)
        self._tags = {**(tags or {}), **({_RUN: run} if run else {})}
        self._starts = [space.suggested(start) for start in experiment.start]
        self._told: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._trials: dict[str, ranking.Told] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._safe: set[str] = set()
        """Ids of the variants whose judgement is."""
        self._own: set[str] = set()
        self.asked: set[str] = set()
        """Ids of the variants that this process is at."""
        self._elsewhere: dict[str, Variant] = {}
        self._turn_of = turn
        self._turns = 0

    def ask(self, incumbent: Variant | None) -> Proposal | None:
        """The next variant, or None where the space seems exhausted.

        Nobody is at it, and it is not measured yet or near the best of what is.
        """
        with self._turn_of():
            proposal = self._next(incumbent)
        if proposal:
            self.asked.add(proposal.variant.id)
        return proposal

    def _next(self, incumbent: Variant | None) -> Proposal | None:
        busy = self._learn() | self.asked
        while self._starts:
            variant = self._starts.pop(0)
            if (
                variant.id not in self._told
                and variant.id not in busy
                and self._is_worth_a_start(variant, incumbent)
            ):
                return self._placed(variant, "start")
        if better := self._better_elsewhere():
            return self._placed(better, "shared")
        if not self._knobs:
            return None
        self._turns += 1
        stepping = self._turns % _SAMPLER_EVERY != 0
        if incumbent is not None and stepping and (known := self._known_way(incumbent, busy)):
            return known
        for _ in range(_ATTEMPTS):
            trial = self._study.ask()
            variant = self._suggested(trial)
            if variant.id in self._told:
                # Known already: the sampler hears the same answer again and moves on, at no cost.
                self._finish(trial, *self._told[variant.id])
            elif variant.id in busy:
                self._study.tell(trial, state=TrialState.FAIL)  # samplers ignore it; the other will answer
            else:
                self._tag(trial, variant)
                return Proposal(variant, trial, "sampler")
        return None if incumbent is None or stepping else self._known_way(incumbent, busy)

    def _is_worth_a_start(self, variant: Variant, incumbent: Variant | None) -> bool:
        """Not what takes too long; nor what is careful and slow, beside an incumbent that needs no such fallback."""
        told = tuple(self._trials.values())
        if ranking.takes_too_long(variant.settings, told):
            return False
        if incumbent is None or incumbent.id not in self._safe:
            return True
        shipped, searched = self._space.variant({}).settings, {knob.name for knob in self._knobs}
        if any(
            value not in (shipped.get(name), incumbent.settings.get(name, value))
            for name, value in variant.settings.items()
            if name not in searched
        ):
            return True  # what is not searched is not rated either
        shares = self._shares.get(incumbent.id, {})
        promise = ranking.worth(
            self._knobs, incumbent.settings, variant.settings, told, shares, noise_sd=self._noise_sd
        )
        return promise >= _PROMISING

    def _known_way(self, incumbent: Variant, busy: set[str]) -> Proposal | None:
        """A step from the incumbent, or a rival of the best once more where that promises more; None for neither."""
        shares = self._shares.get(incumbent.id, {})
        again, worth = self._again(busy, shares)
        if step := self._neighbour(incumbent, busy, shares, max(_PROMISING, worth)):
            return self._placed(step, "neighbour")
        return self._placed(again, "again") if again and worth >= _WORTH_REPEATING else None

    def _suggested(self, trial: optuna.Trial) -> Variant:
        return self._space.suggested(
            {**self._fixed, **{knob.name: _suggest(trial, knob) for knob in self._knobs}}
        )

    def tell(self, proposal: Proposal, judgement: Judgement) -> None:
        """Record what a proposal was worth. A failure is a worst value that violates a constraint, not a gap."""
        self._told[proposal.variant.id] = (judgement.log_speedup, judgement.violations)
        self._own.add(proposal.variant.id)
        self._rank(judgement)
        self.asked.discard(proposal.variant.id)
        proposal.trial.set_user_attr("note", judgement.trial.note)
        self._finish(proposal.trial, judgement.log_speedup, judgement.violations)

    def believed(self, judgements: Sequence[Judgement]) -> list[Judgement]:
        """The same with each speed as all that was told together makes it likely."""
        incumbent = gate.incumbent(judgements)
        shares = self._shares.get(incumbent.trial.variant.id, {}) if incumbent else {}
        told = list(self._trials.values())
        means = ranking.believed(self._knobs, told, shares, noise_sd=self._noise_sd)
        found = dict(zip(self._trials, means, strict=True))

        def speed(judgement: Judgement) -> float:
            mean = found.get(judgement.trial.variant.id)
            return judgement.log_speedup if mean is None else mean

        return [replace(judgement, log_speedup=speed(judgement)) for judgement in judgements]

    def drop(self, proposal: Proposal) -> None:
        """Nothing was learnt of a proposal: it may be asked for again, by this process or another."""
        self.asked.discard(proposal.variant.id)
        self._study.tell(proposal.trial, state=TrialState.FAIL)

    def made(self, proposal: Proposal) -> bool:
        """Whether the proposal is of this study."""
        return proposal.trial.study is self._study

    def recall(self, judgement: Judgement) -> None:
        """Learn a trial of an earlier run as if it had been proposed now."""
        variant = judgement.trial.variant
        self._learn()
        if variant.id in self._told:  # by this run before it was taken up again, or by another
            self._own.add(variant.id)
            self._rank(judgement)
        else:
            self.tell(self._placed(variant, "earlier run"), judgement)

    def _finish(self, trial: optuna.Trial, value: float, violations: Mapping[str, float]) -> None:
        for name, violation in violations.items():
            trial.set_constraint(name, violation)
        self._study.tell(trial, value)

    def _placed(self, variant: Variant, origin: str) -> Proposal:
        """A running trial with these settings. Not through Optuna's queue: another process might take it."""
        template = create_trial(
            state=TrialState.RUNNING,
            params={knob.name: _encode(knob, variant.settings) for knob in self._knobs},
            distributions={knob.name: _distribution(knob) for knob in self._knobs},
        )
        study_id = self._storage.get_study_id_from_name(self._study.study_name)
        trial = optuna.Trial(self._study, self._storage.create_new_trial(study_id, template))
        self._tag(trial, variant)
        return Proposal(variant, trial, origin)

    def _tag(self, trial: optuna.Trial, variant: Variant) -> None:
        # Optuna keeps local times, which differ between machines.
        began = datetime.now(UTC).isoformat(timespec="seconds")
        for key, value in {_SETTINGS: variant.canonical, _BEGAN: began, **self._tags}.items():
            trial.set_user_attr(key, value)

    def _learn(self) -> set[str]:
        """Take over what other runs have measured. Returns the ids of the variants that they are at."""
        if self._run is None:
            return set()
        busy = set()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
            settings = settings_of(trial)
            if settings is None:
                continue
            variant = Variant(self._space.engine, self._space.device, settings)
            if trial.state is TrialState.COMPLETE:
                self._told.setdefault(variant.id, (trial.value or 0.0, trial.constraints))
                self._trials.setdefault(variant.id, _told(settings, trial))
                self._elsewhere[variant.id] = variant
            elif trial.user_attrs.get(_RUN) != self._run and not _stale(trial):
                busy.add(variant.id)
        return busy

    def _better_elsewhere(self) -> Variant | None:
        """The best variant of other runs, where it beats all that this one has measured."""
        feasible = {
            name: value
            for name, (value, violations) in self._told.items()
            if all(violation <= 0 for violation in violations.values())
        }
        best = max(feasible, key=lambda name: feasible[name], default=None)
        if best is None or best in self._own or best not in self._elsewhere:
            return None
        self._own.add(best)  # once, whatever becomes of it here
        return self._space.suggested(self._space.admitted(self._elsewhere[best].settings))

    def _offer(self) -> str:
        """Eight digits that change with what is searched."""
        domains = {knob.name: repr(_distribution(knob)) for knob in self._knobs}
        return hashlib.sha256(json.dumps(domains, sort_keys=True).encode()).hexdigest()[:8]

    def _neighbour(
        self, incumbent: Variant, busy: set[str], shares: Mapping[str, float], least: float
    ) -> Variant | None:
        """The untried change of the incumbent that promises most, None where none promises `least`."""
        found = ranking.steps(
            self._knobs,
            incumbent.settings,
            tuple(self._trials.values()),
            shares,
            noise_sd=self._noise_sd,
            resolved=lambda settings: self._space.suggested(settings).settings,
        )
        # Equals in an order of the seed's, as an engine lists its knobs by stage and not by merit.
        found.sort(key=lambda step: (-round(step.gain, 6), self._draw.random()))
        for step in found:
            if step.gain < least:
                break
            variant = self._space.suggested({**incumbent.settings, **step.changes})
            if variant.id not in self._told and variant.id not in busy:
                return variant
        return None

    def _again(self, busy: set[str], shares: Mapping[str, float]) -> tuple[Variant | None, float]:
        """The rival of the best that is most worth measuring again, and what that promises; None without rivals."""
        own = [self._trials[name] for name in sorted(self._own - busy) if name in self._trials]
        fitting = [
            (trial.log_speedup, trial) for trial in own if trial.log_speedup is not None and trial.likely
        ]
        fitting.sort(key=lambda known: -known[0])
        rivals = [trial.settings for _, trial in fitting[:_RIVALS]]
        if len(rivals) < 2:
            return None, 0.0
        told = tuple(self._trials.values())
        worth = ranking.repeats(self._knobs, rivals, told, shares, noise_sd=self._noise_sd)
        most = max(range(len(rivals)), key=lambda place: worth[place])
        return Variant(self._space.engine, self._space.device, rivals[most]), worth[most]

    def _rank(self, judgement: Judgement) -> None:
        """Keep what the ranking of steps learns from a trial."""
        trial = judgement.trial
        failed = isinstance(trial.outcome, Failure)
        self._trials[trial.variant.id] = ranking.Told(
            trial.variant.settings,
            None if failed else judgement.log_speedup,
            failed=_missed(judgement.violations),
            trials=judgement.trials,
            too_late=isinstance(trial.outcome, Failure) and trial.outcome.kind is FailureKind.TIMEOUT,
            cer_excess=judgement.cer_excess,
            share_read=judgement.share_read,
            likely=judgement.likely,
        )
        self._shares[trial.variant.id] = ranking.stage_shares(trial.outcome)
        if judgement.safe:
            self._safe.add(trial.variant.id)
        else:
            self._safe.discard(trial.variant.id)


def _restricted(knob: Knob, experiment: Experiment) -> Knob:
    """The knob with the values that the experiment names, as far as this machine admits them."""
    if experiment.search is None:
        return knob
    named = experiment.search.get(knob.name, [knob.default])
    admitted = [value for value in dict.fromkeys(named) if knob.domain.admits(value)]
    if not admitted:
        return knob
    if isinstance(knob.domain, Choice):
        # An open choice admits any text: what is not offered here must at least be a file or folder.
        here = [v for v in admitted if v in knob.domain.values or Path(str(v)).expanduser().exists()]
        return replace(knob, domain=replace(knob.domain, values=tuple(here or [knob.default])))
    numbers = sorted(value for value in admitted if not isinstance(value, str))
    return replace(knob, domain=replace(knob.domain, values=tuple(numbers)))


def settings_of(trial: FrozenTrial) -> dict[str, Setting] | None:
    """The settings that a trial was tagged with; None where it was not, or by another program."""
    try:
        settings = json.loads(str(trial.user_attrs.get(_SETTINGS)))["settings"]
    except (ValueError, KeyError, TypeError):
        return None
    known = isinstance(settings, dict) and all(
        isinstance(value, bool | int | float | str) for value in settings.values()
    )
    return settings if known else None


def _told(settings: Mapping[str, Setting], trial: FrozenTrial) -> ranking.Told:
    """What another run's trial says to the ranking of steps."""
    speed = None if trial.value is None or trial.value <= WORST else trial.value
    fits = all(violation <= 0 for violation in trial.constraints.values())
    excess = trial.constraints.get("cer")
    return ranking.Told(settings, speed, failed=_missed(trial.constraints), cer_excess=excess, likely=fits)


def _missed(violations: Mapping[str, float]) -> bool:
    """Whether a constraint is missed other than the bound on CER, of which more is known than that."""
    return any(violation > 0 for name, violation in violations.items() if name != "cer")


def _stale(trial: FrozenTrial) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(str(trial.user_attrs.get(_BEGAN))) > _STALE
    except (ValueError, TypeError):  # not a time of ours
        return True


def _distribution(knob: Knob) -> BaseDistribution:
    if isinstance(knob.domain, Choice):
        return CategoricalDistribution(list(knob.domain.values))
    return IntDistribution(0, len(knob.domain.values) - 1)


def _suggest(trial: optuna.Trial, knob: Knob) -> Setting:
    if isinstance(knob.domain, Choice):
        chosen: Setting = trial.suggest_categorical(knob.name, list(knob.domain.values))  # type: ignore[assignment]
        return chosen
    return knob.domain.values[trial.suggest_int(knob.name, 0, len(knob.domain.values) - 1)]


def _encode(knob: Knob, settings: Mapping[str, Setting]) -> Setting:
    """The knob's value as the study holds it: the name, or the place of the nearest number of the grid."""
    value = settings.get(knob.name, knob.default)
    values: Sequence[Setting] = knob.domain.values
    if isinstance(knob.domain, Choice):
        return value if value in values else values[0]
    return min(range(len(values)), key=lambda i: abs(float(values[i]) - float(value)))
