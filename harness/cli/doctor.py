"""`tune doctor`: the machine, what is missing, how noisy it is, what to do."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engines import registry
from harness.cli.arguments import seconds
from harness.cli.common import print_json, stderr
from harness.data import named_sets
from harness.errors import UserError
from harness.machine import (
    available_devices,
    cautions,
    describe,
    detect,
    fingerprint,
    load,
    noise_pct,
    versions,
)

_NOISY_PCT = 5.0
_TOOLS = ("ocr-tune", "optuna", "onnxruntime", "openvino", "torch", "numpy", "opencv-python")


def doctor(
    *,
    knobs: Annotated[bool, Parameter(negative="")] = False,
    engine: str | None = None,
    config: Path | None = None,
    device: str = "auto",
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    budget: Annotated[float, Parameter(converter=seconds)] = 300.0,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """What this machine has, what is missing, how noisy it is, and what to do.

    Parameters
    ----------
    knobs
        Say instead for each setting of an engine whether it changes time, memory or output here at all.
    engine
        With --knobs: the engine, ppocr unless it is named.
    config
        With --knobs: start from this config's settings rather than the engine's defaults.
    device
        With --knobs: auto, cpu, cuda:0, ...; a config file's own device wins.
    data
        With --knobs: data set or path; may be given several times.
    budget
        With --knobs: longest time that it may take.
    seed
        With --knobs: seed of pages and coins.
    json
        Print one JSON document.
    """
    if knobs:
        from harness.cli.doctor_knobs import doctor_knobs

        return doctor_knobs(
            engine=engine,
            config=config,
            device=device,
            data=data or [],
            budget_s=budget,
            seed=seed,
            json=json,
        )
    if engine or config or data:
        raise UserError("--engine, --config and --data are of `tune doctor --knobs`; add --knobs")
    machine = detect()
    doubts = cautions(machine)
    with stderr().status("measuring how noisy this machine is"):
        noise = noise_pct()
    state = load(machine)
    found = versions(_TOOLS)
    engines = {name: registry.load(name).unusable(machine) for name in registry.names()}
    document: dict[str, Any] = {
        "machine": {**asdict(machine), "cpu_flags": sorted(machine.cpu_flags)},
        "fingerprint": fingerprint(machine, found),
        "devices": list(available_devices(machine)),
        "state": asdict(state),
        "noise_pct": noise,
        "versions": found,
        "engines": engines,
        "data": {data.name: data.ready for data in named_sets()},
        "cautions": [caution.sentence for caution in doubts],
    }
    if json:
        print_json(document)
        return 0
    _say(document, describe(machine))
    return 0


def _say(document: dict[str, Any], machine: str) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("machine", machine)
    table.add_row("devices", ", ".join(document["devices"]))
    table.add_row("fingerprint", document["fingerprint"])
    noise = document["noise_pct"]
    calm = "calm" if noise <= _NOISY_PCT else "[yellow]noisy: give longer budgets, or a quieter machine[/]"
    table.add_row("noise", f"{noise:.1f} % from one repetition of the same work to the next: {calm}")
    for name, value in document["state"].items():
        table.add_row(name, "not readable here" if value is None else str(value))
    for name, version in document["versions"].items():
        table.add_row(name, version)
    for name, reason in document["engines"].items():
        table.add_row(f"engine {name}", f"[red]no:[/] {reason}" if reason else "[green]usable[/]")
    for name, ready in document["data"].items():
        table.add_row(f"data {name}", "[green]ready[/]" if ready else f"run `tune data fetch {name}`")
    for caution in document["cautions"]:
        table.add_row("[yellow]caution[/]", caution)
    out.print(table)
