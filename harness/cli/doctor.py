"""`tune doctor`: the machine, what is missing, how noisy it is, what to do."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engines.interface import Machine
from harness import environments
from harness.cli.arguments import seconds
from harness.cli.common import print_json, stderr
from harness.config import read_config
from harness.data import named_sets
from harness.describe import versions
from harness.errors import UserError
from harness.machine import (
    NOISY_PCT,
    available_devices,
    cautions,
    describe,
    detect,
    fingerprint,
    load,
    noise_pct,
    resolve_device,
)
from harness.space import Space
from harness.values import Variant

_DEFAULT_ENGINE = "ppocr"
_TOOLS = ("ocr-tune", "optuna", "onnxruntime", "openvino", "torch", "numpy", "opencv-python")


def doctor(
    *,
    knobs: Annotated[bool, Parameter(negative="")] = False,
    self_test: Annotated[bool, Parameter(negative="")] = False,
    engine: str | None = None,
    config: Path | None = None,
    device: str = "auto",
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    budget: Annotated[float, Parameter(converter=seconds)] = 600.0,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """What this machine has, what is missing, how noisy it is, and what to do.

    Parameters
    ----------
    knobs
        Say instead for each setting of an engine whether it changes time, memory or output here at all.
    self_test
        Test the regression gate instead: an engine beside itself, and beside itself slowed by 5 %.
    engine
        With --knobs or --self-test: the engine, ppocr unless it is named.
    config
        With --knobs or --self-test: this config's settings rather than the engine's defaults.
    device
        With --knobs or --self-test: auto, cpu, cuda:0, ...; a config file's own device wins.
    data
        With --knobs or --self-test: data set or path; may be given several times.
    budget
        With --knobs or --self-test: longest time that it may take; the longer, the surer the answer.
    seed
        With --knobs or --self-test: seed of pages and coins.
    json
        Print one JSON document.
    """
    machine = detect()
    if knobs and self_test:
        raise UserError("--knobs and --self-test are two jobs; give one of them")
    if knobs or self_test:
        if config and engine:
            raise UserError("--config names the engine itself; give --engine or --config, not both")
        space, base = _base(engine or _DEFAULT_ENGINE, config, device, machine)
        if knobs:
            from harness.cli.doctor_knobs import doctor_knobs

            return doctor_knobs(space, base, machine, data or [], budget_s=budget, seed=seed, as_json=json)
        from harness.cli.doctor_self_test import doctor_self_test

        return doctor_self_test(base, machine, data or [], budget_s=budget, seed=seed, as_json=json)
    if engine or config or data:
        raise UserError("--engine, --config and --data need --knobs or --self-test; add one of them")
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


def _base(engine: str, config: Path | None, device: str, machine: Machine) -> tuple[Space, Variant]:
    if config is None:
        space = Space.of(engine, resolve_device(device, machine), machine)
        return space, space.variant({})
    chosen = read_config(config)
    space = Space.of(chosen.engine, chosen.device, machine)
    return space, space.suggested(chosen.settings)


def _say(document: dict[str, Any], machine: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("machine", machine)
    table.add_row("devices", ", ".join(document["devices"]))
    table.add_row("fingerprint", document["fingerprint"])
    noise = document["noise_pct"]
    calm = "calm" if noise <= NOISY_PCT else "[yellow]noisy: give longer budgets, or a quieter machine[/]"
    table.add_row("noise", f"{noise:.1f} % from one repetition of the same work to the next: {calm}")
    for name, value in document["state"].items():
        table.add_row(name, "not readable here" if value is None else str(value))
    for name, version in document["versions"].items():
        table.add_row(name, version)
    for name, reason in document["engines"].items():
        table.add_row(f"engine {name}", f"[red]no:[/] {escape(reason)}" if reason else "[green]usable[/]")
    for name, ready in document["data"].items():
        table.add_row(f"data {name}", "[green]ready[/]" if ready else f"run `tune data fetch {name}`")
    for caution in document["cautions"]:
        table.add_row("[yellow]caution[/]", caution)
    out.print(table)
