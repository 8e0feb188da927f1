"""Energy from counters, on a /sys that the test writes."""

import os
from pathlib import Path

import pytest

from engines.interface import Machine
from harness.energy import EnergyMeter

MACHINE = Machine("test", cores=2, memory_mib=1024)


def domain(root: Path, folder: str, name: str, joules: float, range_j: float = 1000.0) -> Path:
    path = root / "sys/class/powercap" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{range_j * 1e6:.0f}\n")
    counter = path / "energy_uj"
    counter.write_text(f"{joules * 1e6:.0f}\n")
    return counter


def test_packages_and_their_memory_count_once_and_wrap(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 990.0)
    domain(tmp_path, "intel-rapl:0:0", "core", 500.0)
    memory = domain(tmp_path, "intel-rapl:0:1", "dram", 10.0)
    system = domain(tmp_path, "intel-rapl:1", "psys", 1.0)
    meter = EnergyMeter("cpu", MACHINE, tmp_path)
    assert meter.absence is None
    meter.start()
    package.write_text("5000000")  # past the end of its range: 990 to 1000, then 5 more
    memory.write_text("12500000")
    system.write_text("900000000")
    assert meter.stop() == pytest.approx(15.0 + 2.5)


def test_a_machine_without_counters_says_so_and_measures_nothing(tmp_path: Path) -> None:
    meter = EnergyMeter("cpu", MACHINE, tmp_path)
    assert meter.absence == "the kernel offers no RAPL, as in most virtual machines"
    meter.start()
    assert meter.stop() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counters_that_only_root_may_read_are_named(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 1.0)
    counter.chmod(0)
    assert str(counter) in str(EnergyMeter("cpu", MACHINE, tmp_path).absence)


def test_a_counter_that_vanishes_leaves_no_figure(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 1.0)
    meter = EnergyMeter("cpu", MACHINE, tmp_path)
    meter.start()
    counter.unlink()
    assert meter.stop() is None
