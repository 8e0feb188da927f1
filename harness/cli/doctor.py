"""`tune doctor`: the machine, what is missing, how noisy it is, what to do."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from engines.interface import Machine
from harness import environments
from harness.check.verdicts import Outcome
from harness.cli.arguments import seconds
from harness.cli.common import load_data, print_json, stderr
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
    resolve_device,
)

_NOISY_PCT = 5.0
_TOOLS = ("ocr-tune", "optuna", "onnxruntime", "openvino", "torch", "numpy", "opencv-python")


def doctor(
    *,
    self_test: Annotated[bool, Parameter(negative="")] = False,
    engine: str = "ppocr",
    budget: Annotated[float, Parameter(converter=seconds)] = 600.0,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """What this machine has, what is missing, how noisy it is, and what to do.

    Parameters
    ----------
    self_test
        Test the regression gate instead: an engine beside itself, and beside itself slowed by 5 %.
    engine
        Engine of the self-test, as shipped.
    budget
        Time of the self-test; the more comparisons fit, the surer its error rates.
    data
        Data set or path of the self-test.
    json
        Print one JSON document.
    """
    machine = detect()
    if self_test:
        return _self_test(engine, machine, data or [], budget, as_json=json)
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


def _self_test(engine: str, machine: Machine, data: list[str], budget_s: float, *, as_json: bool) -> int:
    from harness.check.selftest import SLOWDOWN_PCT
    from harness.check.selftest import self_test as run
    from harness.measure import Bench
    from harness.space import Space

    console = stderr()
    variant = Space.of(engine, resolve_device("auto", machine), machine).variant({})
    loaded = load_data(data, None, console)
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch, console.status("self-test") as status:
        bench = Bench(loaded.pages, loaded.references, Path(scratch), machine)
        found = run(bench, variant, budget_s=budget_s, progress=status.update)
    median_s, p95_s = (float(np.quantile(found.seconds, share)) for share in (0.5, 0.95))
    document = {
        "engine": engine,
        "slowdown_pct": SLOWDOWN_PCT,
        "unchanged": {"comparisons": len(found.unchanged), "false_verdicts": found.false_verdicts},
        "slowed": {"comparisons": len(found.slowed), "caught": found.caught},
        "inconclusive": (found.unchanged + found.slowed).count(Outcome.INCONCLUSIVE),
        "verdict_s": {"p50": median_s, "p95": p95_s},
    }
    if as_json:
        print_json(document)
    else:
        sys.stdout.write(
            f"unchanged: {found.false_verdicts} of {len(found.unchanged)} called a regression\n"
            f"slowed by {SLOWDOWN_PCT} %: {found.caught} of {len(found.slowed)} caught\n"
            f"inconclusive: {document['inconclusive']}\n"
            f"a verdict takes {median_s:.0f} s (median), {p95_s:.0f} s (95th percentile)\n"
        )
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
