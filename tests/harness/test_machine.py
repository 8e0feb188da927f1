import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cpuinfo
import numpy as np
import psutil
import pytest
from scipy import stats

from engines.interface import Gpu, Machine
from harness.describe import versions
from harness.errors import UserError
from harness.machine import (
    Caution,
    Load,
    _cpu_quota,
    _memory_mib,
    _spread_pct,
    available_devices,
    cautions,
    describe,
    detect,
    fingerprint,
    load,
    noise_pct,
    resolve_device,
)

GPU = Gpu(0, "NVIDIA H200", 143771, "570.1")
PLAIN = Machine("Some CPU", cores=4, memory_mib=16000)
WITH_GPUS = replace(PLAIN, gpus=(GPU, replace(GPU, index=1)))
MAC = replace(PLAIN, system="darwin")
QUIET = Load(0.1, "performance", 50.0, 0.0, 0, 0)
V1 = "31 23 0:28 {top} {at} rw,relatime - cgroup cgroup rw,{controller}"
V2 = "31 23 0:28 {top} {at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_detection_agrees_with_psutil_py_cpuinfo_and_the_affinity_mask() -> None:
    machine, oracle = detect(), cpuinfo.get_cpu_info()
    assert machine.cpu_model == oracle["brand_raw"]
    assert machine.cpu_flags <= set(oracle["flags"])
    assert len(machine.cpu_flags) > 0.8 * len(oracle["flags"])
    assert 1 <= machine.cores <= len(os.sched_getaffinity(0))
    assert 0 < machine.memory_mib <= psutil.virtual_memory().total / 2**20


def test_detection_takes_little_time() -> None:
    detect()
    start = time.process_time()
    detect()
    assert time.process_time() - start < 0.05


def test_cores_outside_the_affinity_mask_do_not_count() -> None:
    code = (
        "import os; from harness.machine import detect; os.sched_setaffinity(0, {%d}); print(detect().cores)"
    )
    core = min(os.sched_getaffinity(0))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code % core], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, math.inf),
        (
            {  # version 2, the limit is on a group further out
                "proc/self/cgroup": "0::/user.slice/job",
                "proc/self/mountinfo": V2.format(top="/", at="/sys/fs/cgroup"),
                "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000",
                "sys/fs/cgroup/user.slice/cpu.max": "150000 100000",
            },
            1.5,
        ),
        (
            {  # version 2 in a container with a namespace of its own
                "proc/self/cgroup": "0::/",
                "proc/self/mountinfo": V2.format(top="/", at="/sys/fs/cgroup"),
                "sys/fs/cgroup/cpu.max": "300000 100000",
            },
            3.0,
        ),
        (
            {  # version 1 in a container that sees the path outside
                "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc",
                "proc/self/mountinfo": V1.format(
                    top="/docker/abc", at="/sys/fs/cgroup/cpu", controller="cpu,cpuacct"
                ),
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {  # the same with a group inside the container
                "proc/self/cgroup": "2:cpu:/docker/abc/inner",
                "proc/self/mountinfo": V1.format(
                    top="/docker/abc", at="/sys/fs/cgroup/cpu", controller="cpu"
                ),
                "sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu/inner/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            {  # version 1 without limit beside an unused version 2
                "proc/self/cgroup": "2:cpu:/a/b\n0::/",
                "proc/self/mountinfo": V1.format(top="/", at="/sys/fs/cgroup/cpu", controller="cpu")
                + "\n"
                + V2.format(top="/", at="/sys/fs/cgroup/unified"),
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
            },
            math.inf,
        ),
        (
            {  # the strictest of two limits in version 1
                "proc/self/cgroup": "2:cpu:/a/b",
                "proc/self/mountinfo": V1.format(top="/", at="/sys/fs/cgroup/cpu", controller="cpu"),
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "50000",
            },
            2.0,
        ),
    ],
)
def test_the_strictest_cpu_quota_of_all_control_groups_counts(
    tmp_path: Path, files: Mapping[str, str], cores: float
) -> None:
    assert _cpu_quota(tree(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "mib"),
    [
        (
            {
                "proc/self/cgroup": "0::/job/part",
                "proc/self/mountinfo": V2.format(top="/", at="/sys/fs/cgroup"),
                "sys/fs/cgroup/job/part/memory.max": "max",
                "sys/fs/cgroup/job/memory.max": str(64 * 2**20),
            },
            64,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/job",
                "proc/self/mountinfo": V1.format(top="/", at="/sys/fs/cgroup/memory", controller="memory"),
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(96 * 2**20),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            },
            96,
        ),
        ({}, psutil.virtual_memory().total // 2**20),
    ],
)
def test_the_strictest_memory_limit_counts(tmp_path: Path, files: Mapping[str, str], mib: int) -> None:
    assert _memory_mib(tree(tmp_path, files)) == mib


def test_an_arm_processor_without_a_model_name_still_has_flags(tmp_path: Path) -> None:
    text = "processor\t: 0\nFeatures\t: fp asimd sve\n\nprocessor\t: 1\nFeatures\t: other"
    machine = detect(tree(tmp_path, {"proc/cpuinfo": text}))
    assert machine.cpu_flags == {"fp", "asimd", "sve"}
    assert machine.cpu_model


def test_devices_are_the_processor_and_each_gpu() -> None:
    assert available_devices(PLAIN) == ("cpu",)
    assert available_devices(WITH_GPUS) == ("cpu", "cuda:0", "cuda:1")
    assert available_devices(MAC) == ("cpu", "mps")


@pytest.mark.parametrize(
    ("name", "machine", "device"),
    [
        ("auto", PLAIN, "cpu"),
        ("auto", WITH_GPUS, "cuda:0"),
        ("cuda", WITH_GPUS, "cuda:0"),
        ("cuda:1", WITH_GPUS, "cuda:1"),
        ("cpu", WITH_GPUS, "cpu"),
        ("mps", MAC, "mps"),
        ("auto", MAC, "cpu"),
    ],
)
def test_a_device_is_resolved(name: str, machine: Machine, device: str) -> None:
    assert resolve_device(name, machine) == device


@pytest.mark.parametrize(
    ("name", "machine", "message"),
    [
        ("cuda:0", PLAIN, "not on this machine .*use --device cpu"),
        ("cuda:7", WITH_GPUS, "unknown device 'cuda:7': did you mean 'cuda:[01]'"),
        ("cpuu", PLAIN, "did you mean 'cpu'"),
        ("mps", PLAIN, "unknown device 'mps'"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_a_remedy(
    name: str, machine: Machine, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        resolve_device(name, machine)


def test_the_fingerprint_changes_with_what_changes_speed_and_with_nothing_else() -> None:
    own = fingerprint(PLAIN, {"numpy": "2"})
    assert own == fingerprint(replace(PLAIN, memory_mib=16030, kernel="6.1", python="3.12"), {"numpy": "2"})
    others = [
        fingerprint(replace(PLAIN, cpu_model="Other"), {"numpy": "2"}),
        fingerprint(replace(PLAIN, cores=8), {"numpy": "2"}),
        fingerprint(replace(PLAIN, memory_mib=32000), {"numpy": "2"}),
        fingerprint(WITH_GPUS, {"numpy": "2"}),
        fingerprint(replace(PLAIN, gpus=(replace(GPU, driver="580"), GPU)), {"numpy": "2"}),
        fingerprint(PLAIN, {"numpy": "3"}),
    ]
    assert len({own, *others}) == 7


def test_a_machine_is_described_in_a_line() -> None:
    assert describe(PLAIN) == "Some CPU, 4 cores, 16 GiB, no GPU"
    assert describe(WITH_GPUS) == "Some CPU, 4 cores, 16 GiB, 2 x NVIDIA H200"


def test_versions_leave_out_what_is_not_installed() -> None:
    assert versions(["numpy", "no-such-distribution"]) == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("state", "machine", "expected"),
    [
        (QUIET, PLAIN, ()),
        (replace(QUIET, busy_pct=50.0), PLAIN, (Caution.BUSY,)),
        (
            replace(QUIET, governor="powersave", memory_stall_pct=12.0),
            PLAIN,
            (Caution.POWERSAVE, Caution.SWAPPING),
        ),
        (
            replace(QUIET, gpu_throttle=0x40, gpu_processes=1),
            WITH_GPUS,
            (Caution.THROTTLED, Caution.SHARED_GPU),
        ),
        (replace(QUIET, gpu_throttle=0x1 | 0x4), WITH_GPUS, ()),
        (QUIET, replace(PLAIN, cpu_model="QEMU Virtual CPU version 2.5+"), (Caution.EMULATED,)),
        (Load(0.0, None, None, None, None, None), PLAIN, ()),
    ],
)
def test_what_would_spoil_a_measurement_is_cautioned(
    state: Load, machine: Machine, expected: tuple[Caution, ...]
) -> None:
    assert cautions(machine, state) == expected


def test_every_caution_gives_advice_in_a_sentence() -> None:
    assert all(caution.advice.endswith(".") and ": " in caution.advice for caution in Caution)
    assert Caution["NOISY"].value == "noisy"
    assert str(Caution.NOISY) == "noisy"


def test_the_load_is_read_where_the_kernel_tells_it(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/pressure/memory": "some avg10=4.25 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        },
    )
    state = load(PLAIN, root)
    assert (state.governor, state.memory_stall_pct) == ("schedutil", 4.25)
    assert (state.gpu_throttle, state.gpu_processes) == (None, None)
    nothing = load(PLAIN, tmp_path / "nowhere")
    assert (nothing.governor, nothing.memory_stall_pct) == (None, None)


def test_cores_that_this_process_may_not_use_do_not_count_as_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda _interval, percpu: [90.0, 10.0, 30.0, 100.0])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 2}, raising=False)
    assert load(PLAIN, tmp_path).busy_pct == 20.0


def test_the_noise_is_the_normal_scaled_deviation_over_the_median() -> None:
    times = np.random.default_rng(1).lognormal(0, 0.1, 500).tolist()
    expected = 100 * stats.median_abs_deviation(times, scale="normal") / np.median(times)
    assert _spread_pct(times) == pytest.approx(expected, rel=1e-4)
    assert 0 <= noise_pct(0.05) < 1000
