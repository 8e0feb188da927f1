"""NVIDIA GPUs through their driver's management library (NVML): what there is, and their counters."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import psutil

from engines.interface import Gpu

_MIB = 2**20
_KIB_PER_MIB = 1024

# By name: the unit is in the name. Each takes the library and a device handle.
_FAST: Mapping[str, Callable[[Any, Any], float]] = {
    "util_pct": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "mem_util_pct": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).memory,
    "mem_mib": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used / _MIB,
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "sm_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
    "throttle": lambda nvml, gpu: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
}
# Read once a second: NVML measures PCIe traffic over 20 ms of waiting, and the others change slowly.
_SLOW: Mapping[str, Callable[[Any, Any], float]] = {
    "temp_c": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    "energy_j": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000,
    "pcie_rx_mib_per_s": lambda nvml, gpu: (
        nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_RX_BYTES) / _KIB_PER_MIB
    ),
    "pcie_tx_mib_per_s": lambda nvml, gpu: (
        nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_TX_BYTES) / _KIB_PER_MIB
    ),
}
# Hopper and later measure these between two moments, by the number of the metric.
_GPM = {"sm_active_pct": 2, "tensor_active_pct": 5, "dram_active_pct": 10}

HARMFUL_THROTTLE = 0x8 | 0x20 | 0x40 | 0x80
"""Clock event reasons that spoil a measurement: hardware slowdown, software or hardware thermal slowdown,
power brake. A power cap is how large GPUs always run, and idle or application clocks are no fault."""


@cache
def library() -> Any:
    """The initialised library, or the reason why there is none, as text."""
    import pynvml  # noqa: PLC0415  half of the time of detecting a machine without a GPU

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    return pynvml


def absence() -> str | None:
    """Why no NVIDIA GPU can be used; None where one can."""
    nvml = library()
    if isinstance(nvml, str):
        return nvml
    return None if handles(nvml) else "NVML lists no GPU that CUDA_VISIBLE_DEVICES admits"


def handles(nvml: Any) -> list[Any]:
    """Device handles in the order in which CUDA numbers them under CUDA_VISIBLE_DEVICES and PCI bus order."""
    found = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    chosen = []
    for name in (part.strip() for part in visible.split(",")):
        named = [
            gpu
            for index, gpu in enumerate(found)
            if name == str(index) or (name.startswith("GPU-") and _uuid(nvml, gpu).startswith(name))
        ]
        if not named:  # CUDA, too, stops at the first name that it does not know
            break
        chosen.append(named[0])
    return chosen


def _uuid(nvml: Any, gpu: Any) -> str:
    return str(nvml.nvmlDeviceGetUUID(gpu))


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that CUDA would use here, none where library or driver are missing."""
    nvml = library()
    if isinstance(nvml, str):
        return ()
    driver = str(nvml.nvmlSystemGetDriverVersion())
    return tuple(
        Gpu(index, str(nvml.nvmlDeviceGetName(gpu)), _memory_mib(nvml, gpu), driver)
        for index, gpu in enumerate(handles(nvml))
    )


def _memory_mib(nvml: Any, gpu: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(gpu).total // _MIB)
    except nvml.NVMLError:  # a chip that shares the memory of the processor
        return psutil.virtual_memory().total // _MIB


def state(index: int) -> tuple[int, int] | None:
    """Reasons why the clock is held back now (a bit mask), and the number of other processes that compute.

    None where the driver does not say.
    """
    nvml = library()
    gpu = handles(nvml)[index]
    try:
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
        reasons = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except nvml.NVMLError:
        return None
    return reasons, sum(process.pid != os.getpid() for process in processes)


def energy_j(index: int) -> float | None:
    """What a GPU has used since its driver was loaded, in joules; None where the driver does not say."""
    nvml = library()
    if isinstance(nvml, str):
        return None
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handles(nvml)[index]) / 1000)
    except nvml.NVMLError:
        return None


class GpuCounters:
    """Counters of one GPU, whoever uses it. `absent` names those that cannot be read, with the reason."""

    def __init__(self, nvml: Any, gpu: Any, index: int) -> None:
        self._nvml, self._gpu, self._prefix = nvml, gpu, f"gpu{index}_"
        self._readers = {False: dict(_FAST), True: {**_FAST, **_SLOW}}
        self._gpm_samples = self._open_gpm()
        self._gpm_is_primed = False
        self.absent: dict[str, str] = {}
        if not self._gpm_samples:
            reason = "needs GPU performance monitoring, which Hopper and later GPUs have"
            self.absent = {self._prefix + name: reason for name in _GPM}

    def read(self, *, slow: bool) -> dict[str, float]:
        """Counters by name; with `slow` also those that are worth a look once a second only."""
        values = {}
        for name, reader in list(self._readers[slow].items()):
            try:
                values[self._prefix + name] = float(reader(self._nvml, self._gpu))
            except self._nvml.NVMLError as error:
                self.absent[self._prefix + name] = f"NVML: {error}"
                for readers in self._readers.values():
                    readers.pop(name, None)
        if slow and self._gpm_samples:
            values.update(self._read_gpm())
        return values

    def close(self) -> None:
        """Give back what NVML allocated."""
        for sample in self._gpm_samples:
            self._nvml.nvmlGpmSampleFree(sample)
        self._gpm_samples = []

    def _open_gpm(self) -> list[Any]:
        try:
            if self._nvml.nvmlGpmQueryDeviceSupport(self._gpu).isSupportedDevice:
                return [self._nvml.nvmlGpmSampleAlloc() for _ in range(2)]
        except self._nvml.NVMLError:
            pass  # an old driver; the reason given for the absence covers it
        return []

    def _read_gpm(self) -> dict[str, float]:
        nvml, (before, now) = self._nvml, self._gpm_samples
        try:
            nvml.nvmlGpmSampleGet(self._gpu, now)
            self._gpm_samples = [now, before]
            if not self._gpm_is_primed:
                self._gpm_is_primed = True
                return {}
            query = nvml.c_nvmlGpmMetricsGet_t()
            query.version = nvml.NVML_GPM_METRICS_GET_VERSION
            query.numMetrics, query.sample1, query.sample2 = len(_GPM), before, now
            for slot, number in enumerate(_GPM.values()):
                query.metrics[slot].metricId = number
            nvml.nvmlGpmMetricsGet(query)
        except nvml.NVMLError as error:
            self.absent |= {self._prefix + name: f"NVML: {error}" for name in _GPM}
            self.close()
            return {}
        values = {}
        for name, result in zip(_GPM, query.metrics, strict=False):
            if result.nvmlReturn:
                self.absent[self._prefix + name] = f"NVML: {nvml.NVMLError(result.nvmlReturn)}"
            else:
                values[self._prefix + name] = result.value
        return values
