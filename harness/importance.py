"""Which settings a run's speed depended on: PED-ANOVA over its trials. Pure."""

import math
import warnings
from collections.abc import Mapping, Sequence

from engines.interface import Setting

MIN_TRIALS = 10
"""With fewer, the best tenth is one trial."""


def importance(trials: Sequence[tuple[Mapping[str, Setting], float]]) -> dict[str, float]:
    """By setting, its share of what tells the fastest tenth of the trials from all of them; the shares add up to 1.

    `trials` are complete settings and throughput in pages per second (above 0). Settings with one value only are
    left out; empty with fewer than `MIN_TRIALS` trials or where nothing tells them apart. Source: Watanabe et al.,
    PED-ANOVA (IJCAI 2023) and its extension to conditional settings (arXiv 2601.20800), as Optuna computes it.
    """
    if len(trials) < MIN_TRIALS:
        return {}
    import optuna  # noqa: PLC0415  takes longer to load than a report of a short run to write
    from optuna.distributions import CategoricalDistribution  # noqa: PLC0415
    from optuna.importance import PedAnovaImportanceEvaluator  # noqa: PLC0415

    seen: dict[str, list[Setting]] = {}
    for settings, _ in trials:
        for name, value in settings.items():
            if repr(value) not in map(repr, seen.setdefault(name, [])):
                seen[name].append(value)
    varied = {name: sorted(map(repr, values)) for name, values in seen.items() if len(values) > 1}
    if not varied:
        return {}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="minimize")
        for settings, pages_per_second in trials:
            known = {name: repr(value) for name, value in settings.items() if name in varied}
            study.add_trial(
                optuna.trial.create_trial(
                    params=known,
                    distributions={name: CategoricalDistribution(varied[name]) for name in known},
                    value=-math.log(pages_per_second),
                )
            )
        with warnings.catch_warnings():
            # That a rare setting's share is rough is in the nature of a short run, and no news to its user.
            warnings.simplefilter("ignore", UserWarning)
            found = PedAnovaImportanceEvaluator().evaluate(study, params=list(varied))
    finally:
        optuna.logging.set_verbosity(before)
    total = sum(found.values())
    if not math.isfinite(total) or total <= 0:
        return {}
    return {
        name: value / total for name, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    }
