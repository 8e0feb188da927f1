"""The answer: what to use, how much faster it is, what it costs, and how sure that is."""

import math
from collections.abc import Sequence

from harness import objectives
from harness.bounds import baseline_misses_bounds
from harness.values import Comparison, Interval, Verdict
from reports.blocks import Answer, Block, Figure, Notices
from reports.sections.phrases import ARROW, arrow, changed, machine_line, ratio_range
from reports.view import Run
from reports.words import (
    DASH,
    MINUS,
    NO_BREAK,
    count,
    duration,
    factor,
    number,
    percent,
    percent_range,
    points,
    points_range,
)


def answer(run: Run) -> Sequence[Block]:
    """The headline, its sentence, and the figures that it rests on."""
    return [_verdict(run), *_shipped_failure(run)]


def _shipped_failure(run: Run) -> Sequence[Block]:
    """That the engine as shipped does not work here, and what stands in for it."""
    failure = run.study.shipped_failure
    if failure is None:
        return []
    sentences = [
        f"{run.study.engine} as shipped fails here ({failure.kind} while {failure.stage}): {failure.message}"
    ]
    if run.baseline:
        settings = changed(run, run.baseline.variant)
        sentences.append(
            f"The baseline is therefore a start that works, trial {run.baseline.number}: {settings}"
        )
    return [Notices(sentences)]


def _verdict(run: Run) -> Answer:
    study, comparison = run.study, run.comparison
    if not run.measured:
        return _nothing_measured(run)
    if study.best is None:
        return _nothing_chosen(run)
    if study.baseline and study.best == study.baseline.variant:
        if study.shipped_failure:
            line = f"Settings with which {study.engine} works here"
            sentence = f"None of the {count(len(run.trials), 'trial')} was shown to be faster. {_bounds(run)}"
            return Answer("neutral", line, sentence, _figures(run))
        line = f"Keep the defaults of {study.engine}"
        sentence = f"None of the {count(len(run.trials), 'trial')} was shown to be faster. {_bounds(run)}"
        return Answer("neutral", line, sentence, _figures(run))
    if comparison is None or comparison.failure or not math.isfinite(comparison.speedup.value):
        return _unconfirmed(run)
    return _confirmed(run, comparison)


def _nothing_measured(run: Run) -> Answer:
    failed = sum(trial.failure is not None for trial in run.trials)
    if failed:
        sentence = (
            f"{'All ' if failed > 1 else ''}{count(failed, 'trial')} failed; the table of failures says why."
        )
    else:
        sentence = (
            f"The run ended after {duration(run.study.spent_s)}, before a trial did. Give it a larger budget."
        )
    return Answer("bad", "Nothing could be measured", sentence, _figures(run))


def _nothing_chosen(run: Run) -> Answer:
    keep = "" if run.study.shipped_failure else f"Keep the defaults of {run.study.engine}."
    if run.study.comparisons:
        finalists = count(len(run.study.comparisons), "finalist")
        sentence = f"Of {finalists}, none was surely faster within the bounds: {_bounds(run)} {keep}"
        return Answer("neutral", "Nothing beat the defaults for certain", sentence, _figures(run))
    base = run.baseline.pages_per_second if run.baseline else None
    faster = [
        (speed / base, trial.number)
        for trial in run.measured
        if base and (speed := trial.pages_per_second) and speed > base and run.admissible(trial)
    ]
    if faster:
        ratio, number_ = max(faster)
        found = f"Trial {number_} was {factor(ratio)} as fast in the search, but nothing confirmed it."
        return Answer(
            "neutral", "Nothing is proven yet", f"{found} Give the run a larger budget.", _figures(run)
        )
    sentence = f"No trial was faster than the defaults within the bounds: {_bounds(run)} {keep}"
    return Answer("bad", "Nothing met the constraints", sentence, _figures(run))


def _unconfirmed(run: Run) -> Answer:
    comparison = run.comparison
    if comparison and comparison.failure:
        why = f"The confirmation failed: {comparison.failure.rstrip('.')}."
    else:
        why = "The run ended before the confirmation on pages that the search had not seen."
    ratio = _measured_ratio(run)
    line = f"About {factor(ratio)} the speed, not confirmed" if ratio else "Settings found, not confirmed"
    return Answer("neutral", line, f"{why} The figures below are those of the search.", _figures(run))


def _confirmed(run: Run, comparison: Comparison) -> Answer:
    speedup, as_fast = comparison.speedup, objectives.of(run.study).as_fast
    cost = _cost_words(run, comparison.cer_increase)
    proof = (
        f"{_ratio_interval(speedup)} over {count(len(comparison.log_ratios), 'paired round')} "
        f"on {comparison.pages:,} {run.confirmation_pages}."
    )
    use = f"Use the settings below for {run.study.engine} on {run.study.device}."
    if baseline_misses_bounds(run.study):
        line = f"Within the bounds, {factor(speedup.value)} {as_fast}{cost}"
        return Answer("good", line, f"The baseline misses them: {_bounds(run)} {use} {proof}", _figures(run))
    match comparison.verdict:
        case Verdict.FASTER:
            return Answer("good", f"{factor(speedup.value)} {as_fast}{cost}", f"{use} {proof}", _figures(run))
        case Verdict.SLOWER:
            return Answer(
                "bad",
                f"Worse: {factor(speedup.value)} {as_fast}",
                f"Keep the defaults. {proof}",
                _figures(run),
            )
        case Verdict.SAME:
            return Answer(
                "neutral", "No better than the defaults", f"There is nothing to gain. {proof}", _figures(run)
            )
        case Verdict.INCONCLUSIVE:
            line = f"Perhaps {factor(speedup.value)} {as_fast}, not certain"
            return Answer("neutral", line, f"More rounds would settle it. {proof}", _figures(run))


def _cost_words(run: Run, increase: Interval) -> str:
    if not math.isfinite(increase.value):
        return ""
    if increase.high < 0:
        return ", with fewer errors"
    if increase.low > 0:
        return f", {points(increase.value)} points of {run.error_name}"
    return f", no clear change of {run.error_name}"


def _figures(run: Run) -> list[Figure]:
    study = run.study
    figures = [*_speed_figures(run), *_error_figures(run), *_cost_figures(run)]
    spent = f"of a budget of {duration(study.budget_s)}, {count(len(run.trials), 'trial')}"
    figures.append(Figure("Time spent", duration(study.spent_s), spent))
    figures.append(Figure("Machine", study.device, machine_line(study.machine)))
    if study.cautions:
        figures.append(Figure("Before you rely on it", count(len(study.cautions), "caution"), "see below"))
    return figures


def _speed_figures(run: Run) -> list[Figure]:
    if not run.sides:
        return []
    speeds = [number(trial.pages_per_second) for trial in run.sides.values()]
    return [Figure("Throughput", arrow(speeds), f"pages per second, {_side_names(run)}")]


def _error_figures(run: Run) -> list[Figure]:
    comparison, name = run.comparison, run.error_name
    if comparison is None or not math.isfinite(comparison.cer_increase.value):
        rates = [percent(trial.cer) for trial in run.sides.values() if trial.cer is not None]
        return [Figure(name, arrow(rates), f"{_side_names(run)}, {run.pages_named}")] if rates else []
    rate_note = f"{percent_range(comparison.cer_a)} {ARROW} {percent_range(comparison.cer_b)}"
    allowed = points(run.study.constraints.max_cer_increase)
    rates = [percent(comparison.cer_a.value), percent(comparison.cer_b.value)]
    return [
        Figure(name, arrow(rates), f"95 % intervals {rate_note}"),
        Figure(
            f"Change of {name}",
            f"{points(comparison.cer_increase.value)} points",
            f"95 % interval {points_range(comparison.cer_increase)}; allowed {allowed}",
        ),
    ]


def _cost_figures(run: Run) -> list[Figure]:
    if not run.sides:
        return []
    latency = [number(trial.latency_ms(50)) for trial in run.sides.values()]
    figures = [Figure("Median time of a page", arrow(latency), "milliseconds from submission to text")]
    memory = [number(trial.rss_peak_mib) for trial in run.watched.values() if trial.rss_peak_mib is not None]
    if memory:
        figures.append(Figure("Peak memory", arrow(memory), "MiB, in the search"))
    starts = [number(t.measurement.cold_start_s) for t in run.sides.values() if t.measurement]
    if starts:
        figures.append(Figure("Cold start", arrow(starts), "seconds to the first page"))
    return figures


def _side_names(run: Run) -> str:
    return arrow(list(run.sides))


def _ratio_interval(interval: Interval) -> str:
    found = ratio_range(interval)
    return "Too few rounds for an interval" if found == DASH else f"95{NO_BREAK}% interval {found}"


def _measured_ratio(run: Run) -> float | None:
    speeds = [trial.pages_per_second for trial in run.sides.values()]
    match speeds:
        case [float() as before, float() as after]:
            return after / before
        case _:
            return None


def _bounds(run: Run) -> str:
    """The constraints as a sentence."""
    bounds = run.study.constraints
    parts = [
        f"{run.error_name} may rise by at most {points(bounds.max_cer_increase).lstrip('+' + MINUS)} points"
    ]
    if bounds.max_p95_ms is not None:
        parts.append(f"95 % of the pages must be read within {number(bounds.max_p95_ms)} ms")
    if bounds.max_p99_ms is not None:
        parts.append(f"99 % of the pages must be read within {number(bounds.max_p99_ms)} ms")
    if bounds.max_memory_mib is not None:
        parts.append(f"memory must stay below {number(bounds.max_memory_mib)} MiB")
    if bounds.max_gpu_memory_mib is not None:
        parts.append(f"the GPU's memory must stay below {number(bounds.max_gpu_memory_mib)} MiB")
    return ", ".join(parts) + "."
