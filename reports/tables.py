"""Trials as a data frame and as CSV, and a run as JSON: the figures of the page for other programs."""

import json
import math
from typing import Any

import pandas as pd

from harness.values import Interval, Study
from reports.view import Run, Trial, derive
from reports.words import clean

_COLUMNS = (
    *(
        "number",
        "phase",
        "id",
        "engine",
        "device",
        "outcome",
        "pages",
        "pages_per_second",
        "p50_ms",
        "p95_ms",
    ),
    *("cer", "wer", "rss_peak_mib", "cold_start_s", "wall_s", "note"),
)


def trials_csv(study: Study) -> str:
    """The CSV text of `trials_frame`: a header, then one line a trial."""
    return csv_text(derive(study))


def csv_text(run: Run) -> str:
    """The CSV text of `trials_frame`."""
    return str(trials_frame(run).to_csv(index=False, lineterminator="\n"))


def trials_frame(run: Run) -> pd.DataFrame:
    """One row a trial, one column a setting (`set.<knob>`).

    Throughput in pages per second, latency in ms, memory in MiB, CER and WER as ratios. A figure that does
    not exist is empty: those of failed trials, a percentile with too few pages, CER without ground truth.
    """
    knobs = sorted({name for trial in run.trials for name in trial.variant.settings})
    rows = [_row(run, trial) | _settings(trial, knobs) for trial in run.trials]
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, *(f"set.{name}" for name in knobs)], dtype=object)
    return frame.map(lambda cell: clean(cell) if isinstance(cell, str) else cell).rename(columns=clean)


def run_json(run: Run) -> str:
    """The run without its texts and samples, as JSON: study, confirmation, trials, pages of both sides."""
    study = run.study
    document = {
        "study": study.id,
        "created": study.created,
        "engine": study.engine,
        "device": study.device,
        "objective": study.objective,
        "budget_s": study.budget_s,
        "spent_s": study.spent_s,
        "seed": study.seed,
        "fingerprint": study.fingerprint,
        "versions": dict(study.versions),
        "best": dict(study.best.settings) if study.best else None,
        "drift": run.drift,
        "comparisons": [
            {
                "a": comparison.a.id,
                "b": comparison.b.id,
                "verdict": comparison.verdict.value,
                "pages": comparison.pages,
                "log_ratios": [_finite(ratio) for ratio in comparison.log_ratios],
                "speedup": _interval(comparison.speedup),
                "cer_a": _interval(comparison.cer_a),
                "cer_b": _interval(comparison.cer_b),
                "cer_increase": _interval(comparison.cer_increase),
                "cer_increase_by_set": {
                    name: _interval(each) for name, each in comparison.cer_increase_by_set.items()
                },
                "failure": comparison.failure,
            }
            for comparison in study.comparisons
        ],
        "trials": [_row(run, trial) | {"settings": dict(trial.variant.settings)} for trial in run.trials],
        "pages": {side: _pages(trial) for side, trial in run.sides.items()},
        "cautions": list(study.cautions),
    }
    return json.dumps(document, indent=1, allow_nan=False)


def _row(run: Run, trial: Trial) -> dict[str, Any]:
    result, measurement = trial.result, trial.measurement
    return {
        "number": result.number,
        "phase": result.phase,
        "id": result.variant.id,
        "engine": result.variant.engine,
        "device": result.device or result.variant.device,
        "outcome": trial.failure.kind.value if trial.failure else "ok",
        "pages": len(trial.records),
        "pages_per_second": trial.pages_per_second,
        "p50_ms": trial.latency_ms(50),
        "p95_ms": trial.latency_ms(95),
        "cer": None if run.drift else trial.cer,
        "wer": None if run.drift else trial.wer,
        "rss_peak_mib": trial.rss_peak_mib,
        "cold_start_s": measurement.cold_start_s if measurement else None,
        "wall_s": result.wall_s,
        "note": result.note,
    }


def _settings(trial: Trial, knobs: list[str]) -> dict[str, Any]:
    return {f"set.{name}": trial.variant.settings.get(name) for name in knobs}


def _pages(trial: Trial) -> list[dict[str, Any]]:
    scores = {score.page_id: score for score in trial.scores}
    return [
        {
            "id": page.page_id,
            "seconds": page.seconds,
            "stage_s": dict(page.stage_s),
            "error": page.error,
            "edits": scores[page.page_id].characters.errors if page.page_id in scores else None,
            "reference_chars": scores[page.page_id].characters.reference_length
            if page.page_id in scores
            else None,
        }
        for page in trial.records.values()
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(interval: Interval) -> dict[str, float | None]:
    return {name: _finite(getattr(interval, name)) for name in ("value", "low", "high")}
