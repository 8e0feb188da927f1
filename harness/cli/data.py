"""`tune data`: lists, checks, fetches and previews data sets."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from harness.cli.common import load_data, print_json, stderr, thumbnail, write_text
from harness.data import fetch, named_sets, verify
from harness.errors import UserError

_PREVIEW_PAGES = 12


def data(
    action: Literal["list", "check", "fetch", "preview"] = "list",
    name: str | None = None,
    /,
    *,
    o: Annotated[Path, Parameter(name=["-o", "--output"])] = Path("preview.html"),
    profile: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """List, check, fetch and preview data sets.

    Parameters
    ----------
    action
        list: every set by name. check: decode every page and verify checksums. fetch: download a public set.
        preview: an HTML page with pictures and ground truth.
    name
        Data set or path.
    o
        The page that `preview` writes.
    profile
        Normalisation profile instead of the data set's own.
    json
        Print one JSON document.
    """
    if action == "list":
        return _list(json)
    if name is None:
        raise UserError(f"say which data set: tune data {action} NAME")
    if action == "fetch":
        return _said("fetched into", fetch(name), json)
    return _check(name, json) if action == "check" else _preview(name, profile, o, json)


def _list(json: bool) -> int:
    sets = named_sets()
    if json:
        print_json(
            {
                "data": [
                    {
                        "name": s.name,
                        "kind": s.kind,
                        "licence": s.licence,
                        "profile": s.profile,
                        "ready": s.ready,
                    }
                    for s in sets
                ]
            }
        )
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("data set", "here", "profile", "what it is", "licence", box=None, pad_edge=False)
    for entry in sets:
        state = "[green]ready[/]" if entry.ready else f"tune data fetch {entry.name}"
        table.add_row(entry.name, state, entry.profile or "by page", entry.summary, entry.licence)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "A folder of images with .txt files beside them, or a PDF with a text layer, works as well."
    )
    return 0


def _check(name: str, json: bool) -> int:
    with stderr().status(f"reading every page of {name}"):
        faults = verify(name)
    if json:
        print_json({"data": name, "faults": faults})
    else:
        console = stderr()
        for fault in faults:
            console.print(fault, markup=False, soft_wrap=True)
        console.print(f"{name}: {len(faults)} faults" if faults else f"{name} is sound")
    return 1 if faults else 0


def _preview(name: str, profile: str | None, target: Path, json: bool) -> int:
    from reports import preview

    loaded = load_data([name], profile, stderr())
    pages = [(reference, thumbnail(reference)) for reference in loaded.references[:_PREVIEW_PAGES]]
    write_text(target, preview(name, pages, len(loaded.pages)), "choose another file with -o")
    return _said("preview ", target, json)


def _said(what: str, path: Path, json: bool) -> int:
    if json:
        print_json({"path": str(path)})
    else:
        stderr().print(f"{what} {path}", markup=False, soft_wrap=True)
    return 0
