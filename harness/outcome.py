"""From a study to the config that production loads. Pure."""

import statistics
from collections.abc import Sequence

from harness.accuracy.scores import PageScore, Summary, score_page, summarise
from harness.bounds import harmed_sets
from harness.config import (
    Alternative,
    ConstraintsMet,
    DataFacts,
    Estimate,
    Evidence,
    MachineFacts,
    TunedConfig,
)
from harness.figures import over_all_pages, proof_of, undominated
from harness.machine import Caution
from harness.values import Comparison, Failure, Measurement, PageRecord, Study, TrialResult

_MAX_ALTERNATIVES = 6


def scores(study: Study, records: Sequence[PageRecord]) -> list[PageScore]:
    """The accuracy of page records, in the light of the study's references."""
    references = {reference.page_id: reference for reference in study.references}
    return [score_page(references[record.page_id], record.lines) for record in records]


def accuracy(study: Study, measurement: Measurement) -> Summary | None:
    """Accuracy pooled over a measurement's pages, each at its first reading; None where no page has text."""
    summary = summarise(scores(study, list(measurement.first_readings.values())))
    return summary if summary.characters.reference_length else None


def comparison_of_best(study: Study) -> Comparison | None:
    """The comparison that proved the winner, None for a run that ended before it."""
    return next((c for c in reversed(study.comparisons) if c.b == study.best), None)


def unproven(study: Study) -> Comparison | None:
    """The fastest finalist that met the bound on CER on the best estimate, but not for certain."""
    bound = study.constraints.max_cer_increase
    close = [
        c
        for c in study.comparisons
        if c.failure is None
        and c.cer_increase.value <= bound
        and not harmed_sets(c.cer_increase_by_set, bound)
    ]
    return max((c for c in close if c.speedup.value > 1), key=lambda c: c.speedup.low, default=None)


def harmful(study: Study) -> tuple[Comparison, str] | None:
    """The fastest finalist that was refused because it harms one data set, and that set."""
    bound = study.constraints.max_cer_increase
    found = [(c, name) for c in study.comparisons for name in harmed_sets(c.cer_increase_by_set, bound)]
    return max(found, key=lambda pair: pair[0].speedup.value, default=None)


def is_unequal(study: Study) -> bool:
    """Whether the winner reads a data set worse than allowed on the best estimate, though not for certain."""
    proof, bound = comparison_of_best(study), study.constraints.max_cer_increase
    return proof is not None and any(each.value > bound for each in proof.cer_increase_by_set.values())


def pareto_front(study: Study) -> list[tuple[TrialResult, float, float]]:
    """(trial, pages a second, CER) of the search that no other beats on both, fastest first."""
    figures = over_all_pages(study)
    points = {}
    for trial in study.trials:
        if trial.number not in figures:
            continue
        pages_per_second, reading = figures[trial.number]
        summary = accuracy(study, reading)
        if summary is not None:
            points[trial.number] = (trial, pages_per_second, summary.cer)
    front = undominated((number, rate, cer) for number, (_, rate, cer) in points.items())
    return [points[number] for number in front]


def tuned_config(study: Study) -> TunedConfig | None:
    """The config of the study's winner, None where it has none."""
    if study.best is None:
        return None
    return TunedConfig(
        engine=study.best.engine,
        device=study.best.device,
        settings=dict(study.best.settings),
        created=study.created,
        objective=study.objective,
        rate=study.rate,
        price_per_hour=study.price_per_hour,
        machine=MachineFacts(
            fingerprint=study.fingerprint,
            cpu_model=study.machine.cpu_model,
            cores=study.machine.cores,
            memory_mib=study.machine.memory_mib,
            gpus=[gpu.name for gpu in study.machine.gpus],
            versions=dict(study.versions),
        ),
        data=[
            DataFacts(name=data.name, sha256=data.sha256, pages=data.pages, profile=data.profile)
            for data in study.data
        ],
        evidence=_evidence(study),
        constraints=ConstraintsMet(
            max_cer_increase=study.constraints.max_cer_increase,
            max_p95_ms=study.constraints.max_p95_ms,
            max_memory_mib=study.constraints.max_memory_mib,
            max_p99_ms=study.constraints.max_p99_ms,
            max_gpu_memory_mib=study.constraints.max_gpu_memory_mib,
        ),
        alternatives=[
            Alternative(
                settings=dict(trial.variant.settings), pages_per_second=round(rate, 4), cer=round(cer, 6)
            )
            for trial, rate, cer in pareto_front(study)
            if trial.variant != study.best
        ][:_MAX_ALTERNATIVES],
    )


def _evidence(study: Study) -> Evidence | None:
    proof = comparison_of_best(study)
    if proof is None:
        return None
    sides = proof_of(study, proof.b)
    if sides is None:
        return None
    baseline, best = (side.outcome for side in sides)
    assert isinstance(baseline, Measurement) and isinstance(best, Measurement)  # noqa: S101  of a proof
    read, shipped = accuracy(study, best), accuracy(study, baseline)
    return Evidence(
        pages=proof.pages,
        rounds=len(proof.log_ratios),
        speedup=Estimate.of(proof.speedup),
        pages_per_second=round(best.pages_per_second, 4),
        baseline_pages_per_second=round(baseline.pages_per_second, 4),
        latency_p50_ms=round(1000 * statistics.median(page.seconds for page in best.pages), 2),
        cer=Estimate.of(proof.cer_b),
        baseline_cer=Estimate.of(proof.cer_a),
        cer_increase=Estimate.of(proof.cer_increase),
        wer=read.wer if read else None,
        baseline_wer=shipped.wer if shipped else None,
        shipped_failure=_sentence(study.shipped_failure),
        baseline_settings=dict(proof.a.settings) if study.shipped_failure else None,
        accuracy_is_drift=Caution.NO_GROUND_TRUTH.sentence in study.cautions,
    )


def _sentence(failure: Failure | None) -> str | None:
    return f"{failure.kind} while {failure.stage}: {failure.message}" if failure else None
