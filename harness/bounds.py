"""The bounds on latency, memory and accuracy that a measurement must meet. Pure."""

import re
from collections.abc import Mapping

from harness.stats import percentile
from harness.values import Constraints, Interval, Measurement, Study

_MEMORY = re.compile("rss_mib")
_GPU_MEMORY = re.compile(r"gpu\d+_mem_mib")
"""Of the fullest GPU, whoever fills it."""


def violations_of(measurement: Measurement, constraints: Constraints) -> dict[str, float]:
    """By how much the bounds on latency and memory are missed, as shares; at most 0 is met."""
    violations: dict[str, float] = {}
    times_ms = [1000 * page.seconds for page in measurement.pages]
    for p, bound_ms in ((95, constraints.max_p95_ms), (99, constraints.max_p99_ms)):
        if bound_ms is not None:
            # Too few pages for the percentile: the slowest page stands in, which errs on the safe side.
            violations[f"p{p}_ms"] = (percentile(times_ms, p) or max(times_ms)) / bound_ms - 1
    for name, counters, bound_mib in (
        ("memory_mib", _MEMORY, constraints.max_memory_mib),
        ("gpu_memory_mib", _GPU_MEMORY, constraints.max_gpu_memory_mib),
    ):
        peaks = [
            value
            for sample in measurement.samples
            for counter, value in sample.values.items()
            if counters.fullmatch(counter)
        ]
        if bound_mib is not None and peaks:
            violations[name] = max(peaks) / bound_mib - 1
    return violations


def keeps_bounds(measurement: Measurement, constraints: Constraints) -> bool:
    """Whether the bounds on latency and memory are met."""
    return all(missed <= 0 for missed in violations_of(measurement, constraints).values())


def baseline_misses_bounds(study: Study) -> bool:
    """Whether the baseline misses a bound on latency or memory, so that what meets it is better at any speed."""
    baseline = study.baseline.outcome if study.baseline else None
    return isinstance(baseline, Measurement) and not keeps_bounds(baseline, study.constraints)


def harmed_sets(increases: Mapping[str, Interval], max_cer_increase: float) -> list[str]:
    """The data sets that are read worse for sure, and by more than that on the best estimate.

    What is gained on others must not hide it. Nothing more is asked of a set, as few have the pages to prove more.
    """
    return [name for name, each in increases.items() if each.low > 0 and each.value > max_cer_increase]
