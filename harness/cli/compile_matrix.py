"""`tune engines NAME --compile-matrix`: which models torch.compile can do, claimed beside measured."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import compile_matrix as matrices
from harness import environments
from harness.cli.common import make_folder, stderr
from harness.compile_matrix import Fact, Matrix, Row
from harness.errors import UserError, unknown
from harness.machine import detect, fingerprint
from harness.store import write_atomic

Facts = Mapping[str, Fact]
_WIDEST = 1000


def compile_matrix(name: str | None, device: str, out: Path | None, deadline_s: float, json: bool) -> int:
    """Measure what is missing and print the whole; `out` keeps it after every row. Raises UserError."""
    if name is None:
        raise UserError("--compile-matrix needs an engine: `tune engines doctr --compile-matrix`")
    if name not in environments.names():
        raise unknown("engine", name, environments.names())
    matrix = _measured(name, device, out, deadline_s)
    if json:
        sys.stdout.write(matrices.to_json(matrix) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for cells in _cells(matrix):
        table.add_row(*cells)
    # A terminal wraps what is too wide for it; the table itself would cut names into pieces.
    Console(highlight=False, markup=False, width=_WIDEST).print(table)
    return 0


def _measured(name: str, device: str, out: Path | None, deadline_s: float) -> Matrix:
    machine, console = detect(), stderr()
    versions = environments.versions_of(environments.find(name, machine))
    matrix = Matrix(name, device, fingerprint(machine, versions), versions)
    known = matrices.saved(out / "matrix.json") if out else None
    if known is not None and not matrix.resumes(known):
        raise UserError(
            f"{out} holds the matrix of another engine, device, machine or version; name another folder"
        )
    models = matrices.models(name)
    if out:
        make_folder(out)
    for number, model in enumerate(models, 1):
        row = known.row_of(model) if known else None
        if row is None or row.failure:
            console.print(f"{number} of {len(models)}: {model}", markup=False)
            row = matrices.measure(name, model, device, deadline_s)
        matrix = replace(matrix, rows=(*matrix.rows, row))
        if out:
            # What an earlier run found of the models that come stays, should this one be interrupted as well.
            later = known.rows[len(matrix.rows) :] if known else ()
            matrices.save(out / "matrix.json", replace(matrix, rows=(*matrix.rows, *later)))
            write_atomic(out / "matrix.md", markdown(matrix))
    return matrix


def markdown(matrix: Matrix) -> str:
    """The matrix as a Markdown table under the versions that it holds for."""
    versions = ", ".join(f"{package} {version}" for package, version in sorted(matrix.versions.items()))
    lines = [
        f"torch.compile with {matrix.engine} on {matrix.device} ({versions}); published in brackets.",
        "",
    ]
    lines += [_line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *map(_line, _cells(matrix))]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _cells(matrix: Matrix) -> list[list[str]]:
    return [[row.model, *(show(row.facts) for show in _SHOWN.values()), _why(row)] for row in matrix.rows]


def _why(row: Row) -> str:
    return " ".join(str(reason) for reason in (row.failure, row.facts.get("reason")) if reason)


def _claimed(name: str) -> Callable[[Facts], str]:
    def show(facts: Facts) -> str:
        return f"{_word(facts.get(name))} ({_word(facts.get(f'published_{name}'))})"

    return show


def _equal(facts: Facts) -> str:
    difference, tolerance = facts.get("difference"), facts.get("tolerance")
    if not isinstance(difference, float):
        return _word(facts.get("equal"))
    return f"{_word(facts.get('equal'))} ({difference:.1e} of {tolerance:.0e})"


def _number(name: str, digits: int) -> Callable[[Facts], str]:
    def show(facts: Facts) -> str:
        value = facts.get(name)
        return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"

    return show


def _word(value: Fact) -> str:
    return "-" if value is None else "yes" if value else "no"


_SHOWN: Mapping[str, Callable[[Facts], str]] = {
    "compiles (published)": _claimed("compiles"),
    "fullgraph (published)": _claimed("fullgraph"),
    "equals eager (of tolerance)": _equal,
    "eager ms": _number("eager_ms", 1),
    "compiled ms": _number("steady_ms", 1),
    "cold s": _number("cold_s", 1),
    "breaks": _number("graph_breaks", 0),
    "recompilations": _number("recompilations", 0),
    "batch": _number("batch", 0),
    "weights": lambda facts: str(facts.get("weights") or "-"),
}
_COLUMNS = ("model", *_SHOWN, "why")
