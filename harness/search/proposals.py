"""What to try next: known good starts, Optuna's TPE, and steps away from the incumbent, in one Optuna study."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.samplers import TPESampler

from engines.interface import Choice, Knob, Setting
from harness.experiments import Experiment
from harness.search.gate import Judgement
from harness.space import Space
from harness.values import Variant

_ATTEMPTS = 30
_STARTUP_TRIALS = 6


@dataclass(frozen=True, slots=True)
class Proposal:
    """A variant to measure, with its place in the Optuna study."""

    variant: Variant
    trial: optuna.Trial
    origin: str
    """`start`, `sampler` or `neighbour`."""


class Proposals:
    """Ask for variants, tell what they were worth. Side effect: every one is kept in the Optuna study."""

    def __init__(self, space: Space, experiment: Experiment, storage: str, name: str, seed: int) -> None:
        self._space = space
        restricted = [_restricted(knob, experiment) for knob in space.knobs]
        self._knobs = [knob for knob in restricted if len(knob.domain.values) > 1]
        self._fixed = {
            knob.name: knob.domain.values[0] for knob in restricted if len(knob.domain.values) == 1
        }
        self._draw = random.Random(f"{seed}/neighbours")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            sampler=TPESampler(
                multivariate=True, constant_liar=True, n_startup_trials=_STARTUP_TRIALS, seed=seed
            ),
        )
        self._starts = [space.suggested(start) for start in experiment.start]
        self._told: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._turn = 0

    def ask(self, incumbent: Variant | None) -> Proposal | None:
        """The next variant that was not measured yet, or None where the space seems exhausted."""
        while self._starts:
            variant = self._starts.pop(0)
            if variant.id not in self._told:
                return self._enqueue(variant, "start")
        if not self._knobs:
            return None
        self._turn += 1
        if incumbent is not None and self._turn % 2 and (step := self._neighbour(incumbent)):
            return self._enqueue(step, "neighbour")
        for _ in range(_ATTEMPTS):
            trial = self._study.ask()
            variant = self._suggested(trial)
            if variant.id not in self._told:
                trial.set_user_attr("settings", variant.canonical)
                return Proposal(variant, trial, "sampler")
            # Known already: the sampler hears the same answer again and moves on, at no cost.
            self._finish(trial, *self._told[variant.id])
        return None

    def _suggested(self, trial: optuna.Trial) -> Variant:
        return self._space.suggested(
            {**self._fixed, **{knob.name: _suggest(trial, knob) for knob in self._knobs}}
        )

    def tell(self, proposal: Proposal, judgement: Judgement) -> None:
        """Record what a proposal was worth. A failure is a worst value that violates a constraint, not a gap."""
        self._told[proposal.variant.id] = (judgement.log_speedup, judgement.violations)
        proposal.trial.set_user_attr("note", judgement.trial.note)
        self._finish(proposal.trial, judgement.log_speedup, judgement.violations)

    def recall(self, judgement: Judgement) -> None:
        """Learn a trial of an earlier run as if it had been proposed now."""
        self.tell(self._enqueue(judgement.trial.variant, "earlier run"), judgement)

    def _finish(self, trial: optuna.Trial, value: float, violations: Mapping[str, float]) -> None:
        for name, violation in violations.items():
            trial.set_constraint(name, violation)
        self._study.tell(trial, value)

    def _enqueue(self, variant: Variant, origin: str) -> Proposal:
        self._study.enqueue_trial({knob.name: _encode(knob, variant.settings) for knob in self._knobs})
        trial = self._study.ask()
        for knob in self._knobs:
            _suggest(trial, knob)
        trial.set_user_attr("settings", variant.canonical)
        return Proposal(variant, trial, origin)

    def _neighbour(self, incumbent: Variant) -> Variant | None:
        """A variant that differs from the incumbent in one knob by one step, or in one name."""
        for _ in range(_ATTEMPTS):
            knob = self._draw.choice(self._knobs)
            if knob.name not in incumbent.settings:
                continue
            values = knob.domain.values
            if isinstance(knob.domain, Choice):
                others = [value for value in values if value != incumbent.settings[knob.name]]
            else:
                at = _encode(knob, incumbent.settings)
                others = [values[i] for i in (int(at) - 1, int(at) + 1) if 0 <= i < len(values)]
            if not others:
                continue
            step = self._space.suggested({**incumbent.settings, knob.name: self._draw.choice(others)})
            if step.id not in self._told:
                return step
        return None


def _restricted(knob: Knob, experiment: Experiment) -> Knob:
    """The knob with the values that the experiment names, as far as this machine admits them."""
    if experiment.search is None:
        return knob
    named = experiment.search.get(knob.name, [knob.default])
    admitted = [value for value in dict.fromkeys(named) if knob.domain.admits(value)]
    if not admitted:
        return knob
    if isinstance(knob.domain, Choice):
        return replace(knob, domain=replace(knob.domain, values=tuple(admitted)))
    numbers = sorted(value for value in admitted if not isinstance(value, str))
    return replace(knob, domain=replace(knob.domain, values=tuple(numbers)))


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
