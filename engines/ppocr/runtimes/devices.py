"""The device of each stage: detection and recognition need not sit on the same one."""

from collections.abc import Iterator

from engines.interface import Choice, Knob, Machine, Settings, Stage

RUN = "run"
"""The stage goes where the run goes (`--device`)."""


def gpu_values(machine: Machine) -> tuple[str, ...]:
    """The values of a stage's device under which it may run on a GPU."""
    return (RUN, *(f"cuda:{gpu.index}" for gpu in machine.gpus))


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """Where one stage runs; nothing where the machine has one device only."""
    if machine.gpus:
        yield Knob(
            f"{prefix}_device",
            stage,
            Choice((*gpu_values(machine), "cpu")),
            RUN,
            "device of this stage; run: that of the run",
            changes_text=True,
        )


def device_of(options: Settings, run: str) -> str:
    """The device of a stage with these options (without its prefix), in a run on device `run`."""
    chosen = str(options.get("device", RUN))
    return run if chosen == RUN else chosen
