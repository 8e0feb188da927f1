"""What sampling costs: under 0.5 % of one core at 10 Hz is what a measurement can bear."""

import os
import subprocess
import sys
from typing import Any

from engines.interface import Machine
from harness.counters import CounterSampler

SECONDS = 4
# A trial as it is: a few processes with a dozen threads each, all cores busy.
REPLICA = f"""
import threading, time
end = time.perf_counter() + {SECONDS}
def wait():
    while time.perf_counter() < end:
        time.sleep(0.05)
threads = [threading.Thread(target=wait) for _ in range(12)]
for thread in threads: thread.start()
while time.perf_counter() < end:
    sum(range(1000))
"""
MOST_PCT = 0.5


def sampled() -> tuple[float, int]:
    """Processor time of sampling in per cent of one core, and the samples taken."""
    leader = subprocess.Popen([sys.executable, "-c", REPLICA], process_group=0)
    machine = Machine("", cores=len(os.sched_getaffinity(0)), memory_mib=1)
    with CounterSampler(leader.pid, machine, hz=10) as sampler:
        follower = subprocess.Popen([sys.executable, "-c", REPLICA], process_group=leader.pid)
        assert (leader.wait(), follower.wait()) == (0, 0)
    return 100 * sampler.cpu_s / sampler.samples[-1].at_s, len(sampler.samples)


def test_sampling_at_10_hz_costs_less_than_half_a_per_cent_of_a_core(benchmark: Any) -> None:
    cost_pct, samples = benchmark.pedantic(sampled, rounds=1)
    print(f"\nsampling costs {cost_pct:.2f} % of one core ({samples} samples in {SECONDS} s)")
    benchmark.extra_info["cost_pct"] = cost_pct
    assert samples >= 9 * SECONDS
    if benchmark.enabled:
        assert cost_pct < MOST_PCT
