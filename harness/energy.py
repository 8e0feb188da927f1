"""Energy by the counters of the hardware: processor packages and memory by RAPL, GPUs by NVML. Never estimated."""

from dataclasses import dataclass
from pathlib import Path

from engines.interface import Machine
from harness import nvml

_POWERCAP = "sys/class/powercap"


@dataclass(frozen=True, slots=True)
class _Rapl:
    """One domain of Linux's powercap interface (kernel documentation, power/powercap)."""

    counter: Path
    range_j: float
    """The counter starts again at zero beyond this."""

    def read_j(self) -> float:
        """The counter. Raises OSError where it may not be read, as for users other than root."""
        return int(self.counter.read_text(encoding="ascii")) / 1e6


class EnergyMeter:
    """Joules that a device and its host use between `start` and `stop`, whoever uses them.

    Counters step every millisecond (RAPL) to every 100 ms (NVML): measure over seconds. `root` holds /sys.
    """

    def __init__(self, device: str, machine: Machine, root: Path = Path("/")) -> None:
        self._gpu = int(device.partition(":")[2] or 0) if device.startswith("cuda") and machine.gpus else None
        self._rapl, self._why_not_rapl = _domains(root)
        self._before: tuple[list[float], float] | None = None

    @property
    def absence(self) -> str | None:
        """Why this machine tells no energy of this device; None where it does."""
        if self._gpu is None:
            return None if self._rapl else self._why_not_rapl
        return None if nvml.energy_j(self._gpu) is not None else "the driver of the GPU tells no total energy"

    def start(self) -> None:
        """Begin a window."""
        self._before = self._read()

    def stop(self) -> float | None:
        """Joules since `start`; None where a counter could not be read."""
        before, now = self._before, self._read()
        if before is None or now is None:
            return None
        packages_j = sum(
            (new - old) % domain.range_j
            for domain, old, new in zip(self._rapl, before[0], now[0], strict=True)
        )
        return packages_j + now[1] - before[1]

    def _read(self) -> tuple[list[float], float] | None:
        if not self._rapl and self._gpu is None:
            return None
        try:
            packages_j = [domain.read_j() for domain in self._rapl]
        except OSError:
            return None
        gpu_j = 0.0 if self._gpu is None else nvml.energy_j(self._gpu)
        return None if gpu_j is None else (packages_j, gpu_j)


def _domains(root: Path) -> tuple[list[_Rapl], str]:
    """Readable domains of packages and their memory, and why there is none."""
    found, why_not = [], "the kernel offers no RAPL, as in most virtual machines"
    for folder in sorted((root / _POWERCAP).glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text(encoding="ascii").strip()
            if not (name.startswith("package") or name == "dram"):
                continue  # cores are part of their package, and psys holds the packages
            domain = _Rapl(
                folder / "energy_uj", int((folder / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
            )
            domain.read_j()
        except OSError as error:
            why_not = (
                f"RAPL may not be read ({error.strerror}); root may, or allow reading {folder / 'energy_uj'}"
            )
            continue
        found.append(domain)
    return found, why_not
