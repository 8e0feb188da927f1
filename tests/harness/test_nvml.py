"""Against a library of our own making where there is no GPU, and against the real one where there is."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from harness import nvml

UNSUPPORTED = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def refuse(*_: object) -> None:
    raise UNSUPPORTED


def library(*, gpm: bool = True, **changes: Any) -> Any:
    """What a driver with three GPUs answers; a handle is the GPU's index."""
    functions = {
        "NVMLError": pynvml.NVMLError,
        "NVML_CLOCK_SM": pynvml.NVML_CLOCK_SM,
        "NVML_TEMPERATURE_GPU": pynvml.NVML_TEMPERATURE_GPU,
        "NVML_PCIE_UTIL_RX_BYTES": pynvml.NVML_PCIE_UTIL_RX_BYTES,
        "NVML_PCIE_UTIL_TX_BYTES": pynvml.NVML_PCIE_UTIL_TX_BYTES,
        "NVML_GPM_METRICS_GET_VERSION": pynvml.NVML_GPM_METRICS_GET_VERSION,
        "c_nvmlGpmMetricsGet_t": pynvml.c_nvmlGpmMetricsGet_t,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUUID": lambda gpu: f"GPU-{'abc'[gpu]}0",
        "nvmlDeviceGetName": lambda gpu: f"GPU {gpu}",
        "nvmlSystemGetDriverVersion": lambda: "570.1",
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=88, memory=41),
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3 * 2**30, total=8 * 2**30),
        "nvmlDeviceGetPowerUsage": lambda _: 312_500,
        "nvmlDeviceGetClockInfo": lambda _, kind: {pynvml.NVML_CLOCK_SM: 1980}[kind],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 0x40,
        "nvmlDeviceGetTemperature": lambda _, kind: {pynvml.NVML_TEMPERATURE_GPU: 61}[kind],
        "nvmlDeviceGetTotalEnergyConsumption": lambda _: 7_000,
        "nvmlDeviceGetPcieThroughput": lambda _, way: {0: 1024, 1: 2048}[way],
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=1)],
        "nvmlGpmQueryDeviceSupport": lambda _: SimpleNamespace(isSupportedDevice=int(gpm)),
        "nvmlGpmSampleAlloc": pynvml.c_nvmlGpmSample_t,
        "nvmlGpmSampleGet": lambda _, sample: sample,
        "nvmlGpmSampleFree": lambda _: None,
        "nvmlGpmMetricsGet": answer_gpm,
    }
    return SimpleNamespace(**(functions | changes))


def answer_gpm(query: Any) -> None:
    """Each metric's value is ten times its number; the last is not available."""
    for slot in range(query.numMetrics):
        query.metrics[slot].value = 10.0 * query.metrics[slot].metricId
    query.metrics[query.numMetrics - 1].nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED


def test_counters_are_in_the_unit_of_their_name() -> None:
    counters = nvml.GpuCounters(library(), 0, 1)
    fast = {
        "gpu1_util_pct": 88,
        "gpu1_mem_util_pct": 41,
        "gpu1_mem_mib": 3072,
        "gpu1_power_w": 312.5,
        "gpu1_sm_mhz": 1980,
        "gpu1_throttle": 0x40,
    }
    assert counters.read(slow=False) == fast
    slow = {
        "gpu1_temp_c": 61,
        "gpu1_energy_j": 7,
        "gpu1_pcie_tx_mib_per_s": 1,
        "gpu1_pcie_rx_mib_per_s": 2,
    }
    assert counters.read(slow=True) == fast | slow
    assert not counters.absent


def test_performance_monitoring_speaks_of_the_time_between_two_readings() -> None:
    counters = nvml.GpuCounters(library(), 0, 0)
    assert "gpu0_sm_active_pct" not in counters.read(slow=True)
    second = counters.read(slow=True)
    assert (second["gpu0_sm_active_pct"], second["gpu0_tensor_active_pct"]) == (20, 50)
    assert "gpu0_dram_active_pct" not in second
    assert counters.absent == {"gpu0_dram_active_pct": f"NVML: {UNSUPPORTED}"}
    assert "gpu0_sm_active_pct" not in counters.read(slow=False)


def test_a_counter_that_the_gpu_lacks_is_absent_with_the_driver_s_reason() -> None:
    without = library(gpm=False, nvmlDeviceGetPowerUsage=refuse, nvmlDeviceGetTotalEnergyConsumption=refuse)
    counters = nvml.GpuCounters(without, 0, 0)
    for _ in range(2):
        values = counters.read(slow=True)
        assert "gpu0_util_pct" in values
        assert not values.keys() & counters.absent.keys()
    assert counters.absent["gpu0_power_w"] == f"NVML: {UNSUPPORTED}"
    assert counters.absent.keys() == {
        *(
            "gpu0_power_w",
            "gpu0_energy_j",
            "gpu0_sm_active_pct",
            "gpu0_tensor_active_pct",
            "gpu0_dram_active_pct",
        )
    }


def test_performance_monitoring_that_fails_is_given_up_with_the_reason() -> None:
    counters = nvml.GpuCounters(library(nvmlGpmMetricsGet=refuse), 0, 0)
    for _ in range(3):
        assert "gpu0_sm_active_pct" not in counters.read(slow=True)
    assert counters.absent["gpu0_sm_active_pct"] == f"NVML: {UNSUPPORTED}"


@pytest.mark.parametrize(
    ("visible", "indices"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("GPU-b", [1]), ("1,7,0", [1]), ("", []), ("-1", [])],
)
def test_gpus_are_numbered_as_cuda_does_under_its_environment_variable(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, indices: list[int]
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.handles(library()) == indices


def test_gpus_are_described_and_their_state_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(nvml, "library", library)
    found = nvml.gpus()
    assert [(gpu.index, gpu.name, gpu.memory_mib, gpu.driver) for gpu in found][1] == (
        1,
        "GPU 1",
        8192,
        "570.1",
    )
    assert nvml.absence() is None
    assert nvml.state(2) == (0x40, 1)
    monkeypatch.setattr(nvml, "library", lambda: library(nvmlDeviceGetComputeRunningProcesses=refuse))
    assert nvml.state(2) is None


def test_the_real_driver_is_read_or_its_absence_explained() -> None:
    found = nvml.gpus()
    if not found:
        assert nvml.absence()
        return
    real = nvml.library()
    counters = nvml.GpuCounters(real, nvml.handles(real)[0], 0)
    values = counters.read(slow=True) | counters.read(slow=True)
    counters.close()
    assert values["gpu0_mem_mib"] <= found[0].memory_mib
    assert 0 <= values["gpu0_util_pct"] <= 100
    assert not values.keys() & counters.absent.keys()
