import os
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from engines.interface import Machine
from harness.counters import CounterSampler, LinuxProcess, OtherProcess, Process
from harness.values import CounterSample

MACHINE = Machine("Some CPU", cores=len(os.sched_getaffinity(0)), memory_mib=4000)
BURN_MIB = 158
"""What BURN holds: 150 MiB and an interpreter. `ru_maxrss` is no oracle, for it starts with the parent's own."""
BURN = """
import os, time
data = bytearray(b"x") * (150 * 2**20)
end = time.perf_counter() + 1.6
while time.perf_counter() < end:
    sum(range(10000))
    os.urandom(2**17)
"""
SWITCH = """
import threading, time
def nap():
    end = time.perf_counter() + 2.4
    while time.perf_counter() < end:
        time.sleep(0.002)
threads = [threading.Thread(target=nap) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def start(code: str, group: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], process_group=group)


def ended(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """What the kernel charged the process, once it has ended."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used


def series(samples: Sequence[CounterSample], name: str) -> list[float]:
    return [sample.values[name] for sample in samples if name in sample.values]


def integral(samples: Sequence[CounterSample], name: str) -> float:
    """Sum of a rate over time."""
    return sum(
        new.values[name] * (new.at_s - old.at_s) for old, new in pairwise(samples) if name in new.values
    )


def test_processor_time_memory_and_faults_are_those_that_the_kernel_charges() -> None:
    process = start(BURN)
    with CounterSampler(process.pid, MACHINE) as sampler:
        used = ended(process)
    samples = sampler.samples
    assert len(samples) >= 10
    assert samples[0].at_s < 0.05
    assert integral(samples, "cpu_pct") / 100 == pytest.approx(used.ru_utime + used.ru_stime, abs=0.3)
    assert max(series(samples, "rss_mib")) == pytest.approx(BURN_MIB, rel=0.1)
    assert integral(samples, "minor_faults_per_s") == pytest.approx(used.ru_minflt, rel=0.25, abs=2000)
    assert max(series(samples, "threads")) == 1


def test_every_process_of_the_group_counts_and_no_other() -> None:
    leader = start(BURN)
    follower = start(BURN, leader.pid)
    stranger = start(BURN)
    with CounterSampler(leader.pid, MACHINE) as sampler:
        charged = [ended(process) for process in (leader, follower)]
        ended(stranger)
    assert max(series(sampler.samples, "processes")) == 2
    assert max(series(sampler.samples, "rss_mib")) == pytest.approx(2 * BURN_MIB, rel=0.1)
    expected_s = sum(used.ru_utime + used.ru_stime for used in charged)
    assert integral(sampler.samples, "cpu_pct") / 100 == pytest.approx(expected_s, rel=0.25)


def test_context_switches_of_all_threads_count() -> None:
    process = start(SWITCH)
    with CounterSampler(process.pid, MACHINE) as sampler:
        used = ended(process)
    found = series(sampler.samples, "voluntary_switches_per_s")
    assert found
    assert max(found) == pytest.approx(used.ru_nvcsw / 2.4, rel=0.5)


def test_cores_are_sampled_once_a_second() -> None:
    process = start(BURN)
    with CounterSampler(process.pid, MACHINE) as sampler:
        ended(process)
    for core in sorted(os.sched_getaffinity(0)):
        found = series(sampler.samples, f"core{core}_pct")
        assert 1 <= len(found) <= 3
        assert all(0 <= value <= 100 for value in found)


def test_a_counter_that_cannot_be_read_is_absent_with_a_reason_and_never_zero() -> None:
    process = start(BURN)
    with CounterSampler(process.pid, MACHINE) as sampler:
        ended(process)
    names = {name for sample in sampler.samples for name in sample.values}
    assert sampler.absent["gpu0_util_pct"]
    assert not names & sampler.absent.keys()
    assert ("core0_mhz" in sampler.absent) or any(name.endswith("_mhz") for name in names)


def test_a_group_that_has_ended_has_no_counters() -> None:
    process = start("pass")
    ended(process)
    with CounterSampler(process.pid, MACHINE, hz=200) as sampler:
        ended(start("pass"))
    assert sampler.samples
    assert all("rss_mib" not in sample.values for sample in sampler.samples)


def test_nothing_stays_open_and_no_thread_stays() -> None:
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    process = start(BURN)
    with CounterSampler(process.pid, MACHINE) as sampler:
        ended(process)
    assert len(sampler.samples) > 3
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_reading_proc_agrees_with_psutil() -> None:
    ours = LinuxProcess(os.getpid())
    theirs = OtherProcess(os.getpid())
    try:
        own, other = ours.usage(slow=True), theirs.usage(slow=True)
    finally:
        ours.close()
        theirs.close()
    assert own is not None
    assert other is not None
    assert own.cpu_s == pytest.approx(other.cpu_s, abs=0.05)
    assert own.rss_mib == pytest.approx(other.rss_mib, rel=0.02)
    assert own.threads == other.threads
    io = psutil.Process().io_counters()
    assert own.read_mib == pytest.approx(io.read_bytes / 2**20, abs=1)
    assert own.write_mib == pytest.approx(io.write_bytes / 2**20, abs=1)
    assert other.read_mib is None


def test_a_process_that_has_ended_is_gone_for_both_readers() -> None:
    process = start("pass")
    readers: list[Process] = [LinuxProcess(process.pid), OtherProcess(process.pid)]
    ended(process)
    assert [reader.usage(slow=True) for reader in readers] == [None, None]
    for kind in (LinuxProcess, OtherProcess):
        with pytest.raises(OSError, match=str(process.pid)):
            kind(process.pid)
    readers[0].close()
