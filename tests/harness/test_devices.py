import os
import subprocess
import sys

import pytest

from engines.interface import Gpu, Machine
from harness import devices
from harness.devices import Device, parse
from harness.errors import UserError

A100, T4 = "NVIDIA A100", "NVIDIA T4"


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, whatever this machine has."""
    monkeypatch.setattr(devices, "_own_cores", lambda: list(range(8)))


def machine(*gpus: str) -> Machine:
    return Machine("cpu", 8, 1024, tuple(Gpu(i, name, 1, "1") for i, name in enumerate(gpus)))


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_one_device_keeps_the_whole_machine(name: str) -> None:
    (device,) = parse(name, machine())
    assert device == Device("cpu", "cpu")
    assert device.seen_from(machine()) == machine()


@pytest.mark.usefixtures("cores")
def test_gpus_share_the_cores_and_see_themselves_alone() -> None:
    first, second = parse("cuda:0, cuda:1", machine(A100, A100, T4))
    assert (first.name, first.cores, second.cores) == ("cuda:0", (0, 1, 2, 3), (4, 5, 6, 7))
    seen = second.seen_from(machine(A100, A100, T4))
    assert (seen.cores, [gpu.index for gpu in seen.gpus]) == (4, [1])


def test_shares_are_equal_where_cores_are_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_own_cores", lambda: list(range(7)))
    assert {len(device.cores) for device in parse("cuda:0,cuda:1", machine(A100, A100))} == {3}


@pytest.mark.usefixtures("cores")
def test_sets_of_cores() -> None:
    assert parse("cpu:0-1+4,cpu:2-3+5", machine()) == (
        Device("cpu", "cpu:0-1+4", (0, 1, 4)),
        Device("cpu", "cpu:2-3+5", (2, 3, 5)),
    )
    assert parse("cpu:7", machine()) == (Device("cpu", "cpu:7", (7,)),)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cuda:0,cuda:0", "names a device twice"),
        ("cuda:0,cuda:1", "mixes kinds of devices .NVIDIA A100, NVIDIA T4."),
        ("cpu,cuda:0", "mixes kinds of devices"),
        ("cpu:0-1,cuda:0", "'cuda:0' is not a set of cores"),
        ("cpu:0-3,cpu:3-6", "overlap"),
        ("cpu:0-3,cpu:4-6", "differ in size"),
        ("cpu:6-9", "core 8 .* it may use 0-7"),
        ("cpu:", "is not a set of cores"),
        ("cpu:3-1", "has no cores"),
        ("cpu:0-99999999999", "is not a set of cores"),
        ("cuda:7", "cuda:7"),
        ("", "''"),
    ],
)
def test_what_cannot_be_shared_is_refused(text: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        parse(text, machine(A100, T4))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot confine processes")
def test_processes_that_are_started_meanwhile_are_confined() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with Device("cpu", f"cpu:{core}", (core,)).confined():
        ask = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
        told = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert told.strip() == str({core})
    assert os.sched_getaffinity(0) == before
