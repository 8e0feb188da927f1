"""`tune doctor`: the machine, what is missing, how noisy it is, what to do."""

from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from harness import environments
from harness.cli.common import print_json, stderr
from harness.data import named_sets
from harness.describe import versions
from harness.machine import (
    available_devices,
    cautions,
    describe,
    detect,
    fingerprint,
    load,
    noise_pct,
)

_NOISY_PCT = 5.0
_TOOLS = ("ocr-tune", "optuna", "onnxruntime", "openvino", "torch", "numpy", "opencv-python")


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """What this machine has, what is missing, how noisy it is, and what to do.

    Parameters
    ----------
    json
        Print one JSON document.
    """
    machine = detect()
    doubts = cautions(machine)
    with stderr().status("measuring how noisy this machine is"):
        noise = noise_pct()
    state = load(machine)
    found = versions(_TOOLS)
    engines = {name: environments.find(name, machine).unusable(machine) for name in environments.names()}
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
