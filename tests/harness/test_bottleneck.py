from collections.abc import Mapping

import pytest

from engines.interface import Machine, Settings
from harness.bottleneck import Resource, bottleneck
from harness.values import CounterSample

MACHINE = Machine("Some CPU", cores=2, memory_mib=8000)
STAGES = {"decode": 1.0, "detect": 1.9, "recognise": 7.1}
SETTINGS: Settings = {"replicas": 1, "prefetch": 0, "rec_model": "v6_small", "rec_runtime": "onnxruntime"}


def found(
    counters: Mapping[str, float],
    stages: Mapping[str, float] = STAGES,
    settings: Settings = SETTINGS,
    machine: Machine = MACHINE,
) -> tuple[Resource, str]:
    samples = [CounterSample(at_s, {"rss_mib": 800.0, **counters}) for at_s in (5.0, 5.1, 5.2)]
    result = bottleneck(stages, samples, machine, 1.0, settings)
    return result.resource, result.sentence


@pytest.mark.parametrize(
    ("counters", "stages", "resource", "sentence"),
    [
        (
            {"cpu_pct": 194.0},
            STAGES,
            Resource.CPU,
            "CPU-bound: 1.94 of 2 cores busy, 71 % of the time in recognise; "
            "try another value of rec_model or rec_runtime.",
        ),
        (
            {"cpu_pct": 102.0},
            STAGES,
            Resource.CPU,
            "49 % of the cores idle: 1.02 of 2 busy, 71 % of the time in recognise; try replicas=2.",
        ),
        (
            {"cpu_pct": 150.0},
            {"decode": 6.0, "detect": 4.0},
            Resource.DECODE,
            "Decode-bound: 1.50 of 2 cores busy, 60 % of the time in decode; "
            "try another value of prefetch or replicas.",
        ),
        (
            {"cpu_pct": 40.0, "iowait_pct": 55.0, "read_mib_per_s": 31.4},
            STAGES,
            Resource.IO,
            "IO-bound: cores wait for storage 55 % of the time, at 31.4 MiB a second; "
            "try another value of prefetch or faster storage.",
        ),
        (
            {"cpu_pct": 110.0, "voluntary_switches_per_s": 20000.0},
            STAGES,
            Resource.LOCK,
            "Lock-bound: 20000 switches a second while 1.10 of 2 cores are busy; try replicas=2.",
        ),
        (
            {"cpu_pct": 60.0, "rss_mib": 7600.0, "major_faults_per_s": 300.0},
            STAGES,
            Resource.MEMORY,
            "Memory-bound: 7600 of 8000 MiB in use at the peak, 300 pages a second read back from storage; "
            "try fewer replicas, smaller pages_per_call or less prefetch.",
        ),
        (
            {"cpu_pct": 60.0, "gpu0_util_pct": 97.0, "gpu0_mem_util_pct": 30.0},
            STAGES,
            Resource.GPU_COMPUTE,
            "GPU-bound: busy 97 % of the time, 71 % of the time in recognise; "
            "try another value of rec_model or rec_runtime.",
        ),
        (
            {"cpu_pct": 60.0, "gpu0_util_pct": 97.0, "gpu0_sm_active_pct": 21.0},
            STAGES,
            Resource.GPU_COMPUTE,
            "GPU-bound by small kernels: busy 97 % of the time, but 21 % full; "
            "try another value of replicas.",
        ),
        (
            {"cpu_pct": 60.0, "gpu1_util_pct": 97.0, "gpu0_util_pct": 0.0, "gpu1_dram_active_pct": 74.0},
            STAGES,
            Resource.GPU_MEMORY,
            "GPU-memory-bound: 74 % of its bandwidth in use, 71 % of the time in recognise; "
            "try another value of rec_model.",
        ),
        (
            {"cpu_pct": 100.0, "gpu0_util_pct": 30.0},
            STAGES,
            Resource.CPU,
            "The GPU idles 70 % of the time and 50 % of the cores idle: 1.00 of 2 busy, "
            "71 % of the time in recognise; try replicas=2.",
        ),
    ],
)
def test_the_sentence_names_the_resource_its_figure_and_a_knob(
    counters: Mapping[str, float], stages: Mapping[str, float], resource: Resource, sentence: str
) -> None:
    assert found(counters, stages) == (resource, sentence)


def test_without_counters_it_is_not_known() -> None:
    result = bottleneck(STAGES, [], MACHINE, 1.0, SETTINGS)
    assert result.resource is Resource.UNKNOWN


def test_start_and_warm_up_do_not_count() -> None:
    loading = [CounterSample(at_s / 10, {"cpu_pct": 5.0, "iowait_pct": 90.0}) for at_s in range(100)]
    reading = [CounterSample(10 + at_s / 10, {"cpu_pct": 198.0, "iowait_pct": 0.0}) for at_s in range(20)]
    result = bottleneck(STAGES, loading + reading, MACHINE, 1.9, SETTINGS)
    assert result.resource is Resource.CPU
    assert "1.98 of 2" in result.sentence


@pytest.mark.parametrize(
    ("replicas", "cpu_pct", "rss_mib", "advice"),
    [
        (1, 400.0, 500.0, "replicas=4."),
        (2, 800.0, 500.0, "replicas=4."),
        (1, 400.0, 3000.0, "replicas=2."),
        (1, 400.0, 7000.0, "another value of prefetch."),
        (16, 800.0, 500.0, "another value of prefetch."),
    ],
)
def test_replicas_are_advised_to_fill_the_cores_as_far_as_memory_allows(
    replicas: int, cpu_pct: float, rss_mib: float, advice: str
) -> None:
    machine = Machine("Some CPU", cores=16, memory_mib=8000)
    counters = {"cpu_pct": cpu_pct, "rss_mib": rss_mib}
    _, sentence = found(counters, settings={**SETTINGS, "replicas": replicas}, machine=machine)
    assert sentence.endswith(f"try {advice}")


def test_only_knobs_that_the_variant_has_are_named() -> None:
    _, sentence = found({"cpu_pct": 199.0}, settings={})
    assert sentence.endswith("try a smaller or quantised model.")
