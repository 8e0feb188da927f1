"""`--device`: where a run measures. Several devices of one kind, or several sets of cores, share its trials."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain

from engines.interface import Machine
from harness.errors import UserError
from harness.machine import resolve_device
from harness.session import core_shares

_MOST_CORES = 1 << 16


@dataclass(frozen=True, slots=True)
class Device:
    """One place to measure at, beside others."""

    name: str
    """As engines know it: `cpu`, `cuda:0`, ..."""
    label: str
    """As the user named it: `cpu:0-3`, `cuda:0`, ..."""
    cores: tuple[int, ...] = ()
    """What its processes are confined to; none: whatever this process may use."""

    def seen_from(self, machine: Machine) -> Machine:
        """The machine as this device's processes see it: where it has its own cores, these and its GPU alone."""
        if not self.cores:
            return machine
        mine = tuple(gpu for gpu in machine.gpus if self.name == f"cuda:{gpu.index}")
        return replace(machine, cores=len(self.cores), gpus=mine)

    @contextmanager
    def confined(self) -> Iterator[None]:
        """What the calling thread starts meanwhile may use the device's cores only."""
        if not self.cores:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def parse(text: str, machine: Machine) -> tuple[Device, ...]:
    """The devices that `text` names: `auto`, `cuda:0`, `cuda:0,cuda:1`, `cpu:0-3,cpu:4-7`, `cpu:0-3+8-11`, ...

    GPUs that are named together share the cores of this process in equal parts, as the processes of production
    would. Raises UserError.
    """
    names = [name.strip() for name in text.split(",")]
    if any(name.startswith("cpu:") for name in names):
        return _core_sets(names)
    devices = [resolve_device(name, machine) for name in names]
    if len(devices) == 1:
        return (Device(devices[0], devices[0]),)
    if len(set(devices)) < len(devices):
        raise UserError(f"--device {text} names a device twice; name each once")
    known = {f"cuda:{gpu.index}": gpu.name for gpu in machine.gpus}
    models = {known.get(device, device) for device in devices}
    if len(models) > 1 or not set(devices) <= set(known):
        raise UserError(
            f"--device {text} mixes kinds of devices ({', '.join(sorted(models))}), whose best settings differ; "
            "tune each in a run of its own"
        )
    shares = core_shares(_own_cores(), len(devices))
    least = min(len(share) for share in shares)
    return tuple(
        Device(name, name, tuple(share[:least])) for name, share in zip(devices, shares, strict=True)
    )


def _core_sets(names: list[str]) -> tuple[Device, ...]:
    sets = [_cores(name) for name in names]
    own = set(_own_cores())
    every = list(chain.from_iterable(sets))
    if missing := sorted(set(every) - own):
        raise UserError(
            f"core {missing[0]} of --device {','.join(names)} is not one that this process may use; "
            f"it may use {_ranges(sorted(own))}"
        )
    if len(set(every)) < len(every):
        raise UserError(f"the core sets of --device {','.join(names)} overlap; give each core to one set")
    if len({len(cores) for cores in sets}) > 1:
        raise UserError(
            f"the core sets of --device {','.join(names)} differ in size, and so do their best settings; "
            "give sets of one size, or tune each in a run of its own"
        )
    return tuple(Device("cpu", name, cores) for name, cores in zip(names, sets, strict=True))


def _cores(name: str) -> tuple[int, ...]:
    """The cores of `cpu:0-3+8-11`."""
    kind, _, ranges = name.partition(":")
    cores: list[int] = []
    try:
        if kind != "cpu":
            raise ValueError(name)
        for part in ranges.split("+"):
            low, _, high = part.partition("-")
            if int(high or low) > _MOST_CORES:
                raise ValueError(name)
            cores += range(int(low), int(high or low) + 1)
    except ValueError as error:
        raise UserError(
            f"device {name!r} is not a set of cores; write them as cpu:0-3 or cpu:0-3+8-11, and no other kind of "
            "device beside them"
        ) from error
    if not cores:
        raise UserError(f"device {name!r} has no cores; write the lower one first, as in cpu:0-3")
    return tuple(dict.fromkeys(cores))


def _own_cores() -> list[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise UserError("this system cannot confine processes to cores; give a single --device")
    return sorted(os.sched_getaffinity(0))


def _ranges(cores: list[int]) -> str:
    """`0-3+8-11` for those cores."""
    starts = [core for core in cores if core - 1 not in cores]
    ends = [core for core in cores if core + 1 not in cores]
    return "+".join(
        f"{low}-{high}" if high > low else str(low) for low, high in zip(starts, ends, strict=True)
    )
