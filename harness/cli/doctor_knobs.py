"""`tune doctor --knobs`: whether each setting does anything on this machine."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.interface import Machine
from harness.acting import untriable
from harness.cli.common import load_data, print_json, stderr
from harness.liveness import Life, Liveness, Step
from harness.measure import Bench
from harness.probing import probe
from harness.session import TrialFailedError
from harness.space import Space
from harness.values import Variant


def doctor_knobs(
    space: Space,
    base: Variant,
    machine: Machine,
    data: Sequence[str],
    *,
    budget_s: float,
    seed: int,
    as_json: bool,
) -> int:
    """Try every knob, print what each did. Returns 0; 1 where the base itself cannot be measured any more."""
    console = stderr()
    loaded = load_data(data, None, console)
    found: Sequence[Liveness] = []
    heard: dict[str, Liveness] = {}
    failure = ""
    with (
        tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch,
        console.status("measuring the base beside itself") as status,
    ):

        def progress(life: Liveness) -> None:
            heard[life.knob] = life
            status.update("measuring the next setting")
            console.print(f"{life.knob}: {says(life)}", markup=False, soft_wrap=True)

        bench = Bench(loaded.pages, loaded.references, Path(scratch), machine, seed)
        try:
            idle = untriable(space, loaded.pages)
            found = probe(bench, space, base, budget_s=budget_s, idle=idle, progress=progress)
        except KeyboardInterrupt:
            found = list(heard.values())
            console.print("[yellow]interrupted[/]: what was tried until then follows")
        except TrialFailedError as failed:
            failure = f"{failed.failure.kind}: {failed}"
            found = list(heard.values())
            console.print(f"the base cannot be measured: {failure}", markup=False, soft_wrap=True)
    if as_json:
        print_json(document(base, found) | ({"failure": failure} if failure else {}))
    elif found:
        _say(found)
    return 1 if failure else 0


def document(base: Variant, found: Sequence[Liveness]) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {
        "engine": base.engine,
        "device": base.device,
        "base": dict(base.settings),
        "knobs": [
            {
                "knob": life.knob,
                "verdict": life.life,
                "changed": list(life.effects),
                "base_value": life.base_value,
                "with": dict(life.condition),
                "reason": life.untested,
                "steps": [asdict(step) for step in life.steps],
            }
            for life in found
        ],
    }


def says(life: Liveness) -> str:
    """The verdict on one knob in a few words."""
    if life.life is Life.ALIVE:
        return f"changes {', '.join(life.effects)}"
    if life.life is Life.UNTESTED:
        return f"not tested: {life.untested}"
    if life.life is Life.FAILED:
        return f"failed: {life.steps[0].failure}"
    return str(life.life.value)


def _say(found: Sequence[Liveness]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    out = Console(highlight=False)
    table = Table("setting", "here", "from", "values tried: throughput, peak memory, pages with other text")
    for life in found:
        condition = "".join(f" with {name}={value}" for name, value in life.condition.items())
        tried = "\n".join(_step(step) for step in life.steps)
        cells = (life.knob, says(life), f"{life.base_value}{condition}", tried)
        table.add_row(*map(escape, cells), style={Life.DEAD: "yellow", Life.FAILED: "red"}.get(life.life))
    out.print(table)
    counts = Counter(life.life.value for life in found)
    out.print(", ".join(f"{number} {name}" for name, number in counts.items()))


def _step(step: Step) -> str:
    if step.failure:
        return f"{step.value}: {step.failure}"
    ratio = step.speedup
    if ratio is None:
        return f"{step.value}: {step.pages_changed} pages, time and memory not compared"
    memory = "" if step.memory_mib is None else f", {step.memory_mib:+.0f} MiB"
    return (
        f"{step.value}: {ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f}){memory}, "
        f"{step.pages_changed} pages"
    )
