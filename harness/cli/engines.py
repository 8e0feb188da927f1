"""`tune engines`: which engines are usable here, and what can be set on them."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engines import registry
from engines.interface import UnsupportedError
from harness import environments
from harness.cli.arguments import seconds
from harness.cli.common import print_json, stderr
from harness.cli.compile_matrix import compile_matrix as matrix
from harness.errors import UserError, unknown
from harness.machine import detect
from harness.space import Space, describe


def engines(
    name: str | None = None,
    /,
    *,
    fetch: str | None = None,
    compile_matrix: Annotated[bool, Parameter(negative="")] = False,
    device: str = "cpu",
    out: Path | None = None,
    deadline: Annotated[float, Parameter(converter=seconds)] = 1800.0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Which engines are installed and usable here, with the reason where not; the knobs of one engine.

    Parameters
    ----------
    name
        An engine, to list what can be set on it.
    fetch
        Download the weights of this engine that are not on this machine.
    compile_matrix
        Measure which models of the engine torch.compile can do, beside what its authors published.
    device
        The device that knobs are listed for, and that models are compiled on.
    out
        A folder that keeps the compile matrix as `matrix.json` and `matrix.md`; one that was interrupted goes on.
    deadline
        The time that one model of the compile matrix has, such as 30m.
    json
        Print one JSON document.
    """
    if fetch is not None:
        return _fetch(fetch)
    if compile_matrix:
        return matrix(name, device, out, deadline, json)
    return _list(json) if name is None else _knobs(name, device, json)


def _fetch(name: str) -> int:
    if name not in environments.names():
        raise unknown("engine", name, environments.names())
    steps = environments.fetch(name)
    if steps is None:
        raise UserError(f"engine {name!r} has nothing to fetch: its weights come with its package")
    console = stderr()
    try:
        for sentence in steps:
            console.print(sentence, markup=False, soft_wrap=True)
    except UnsupportedError as error:
        raise UserError(str(error)) from error
    return 0


def _list(json: bool) -> int:
    machine = detect()
    rows: list[dict[str, Any]] = []
    for name in environments.names():
        engine = environments.find(name, machine)
        python = environments.interpreter(name)
        rows.append(
            {
                "engine": name,
                "summary": engine.summary(),
                "unusable": engine.unusable(machine),
                "absent": dict(registry.absent(engine, machine)),
                "versions": environments.versions_of(engine),
                "python": str(python) if python else None,
            }
        )
    if json:
        print_json({"engines": rows})
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("engine", "here", "what it is", box=None, pad_edge=False)
    for row in rows:
        state = f"[red]no:[/] {escape(str(row['unusable']))}" if row["unusable"] else "[green]usable[/]"
        if not row["unusable"]:
            for part, reason in row["absent"].items():
                state += f"\n[yellow]{escape(part)}:[/] {escape(reason)}"
        if row["python"]:
            state += f" [dim](under {escape(str(row['python']))})[/]"
        table.add_row(str(row["engine"]), state, escape(str(row["summary"])))
    Console(highlight=False).print(table)
    return 0


def _knobs(name: str, device: str, json: bool) -> int:
    space = Space.of(name, device, detect())
    if json:
        print_json(
            {
                "engine": name,
                "knobs": [
                    {
                        "name": knob.name,
                        "stage": knob.stage,
                        "default": knob.default,
                        "values": list(knob.domain.values),
                        "when": {other: list(values) for other, values in knob.when.items()},
                        "help": knob.help,
                    }
                    for knob in space.knobs
                ],
            }
        )
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("knob", "stage", "default", "values", "what it does", box=None, pad_edge=False)
    for knob in space.knobs:
        cells = (knob.name, knob.stage, str(knob.default), describe(knob), knob.help)
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)
    return 0
