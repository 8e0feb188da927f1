"""`tune report`: the HTML page of one or more runs, of a history or of a pytest-benchmark file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.common import stderr, thumbnail, write_text
from harness.errors import UserError
from harness.phases import store as phases
from harness.store import RunFolder


def report(*runs: Path, o: Annotated[Path | None, Parameter(name=["-o", "--output"])] = None) -> int:
    """Write the HTML page of one or more runs, side by side, of a history of checks, or of pytest-benchmark's JSON.

    Parameters
    ----------
    runs
        Run folders of `tune` or of `tune phases`; or one folder of `tune check --history`, or one file of
        `pytest --benchmark-json`.
    o
        The page. Default: report.html in the run folder; with several runs it must be given.
    """
    if not runs:
        raise UserError(
            "give the folder of at least one run, such as `tune report runs/20260101-120000-ppocr`"
        )
    if o is None and len(runs) > 1:
        raise UserError("with several runs, say where the page goes: -o compared.html")
    target, text = (len(runs) == 1 and _other_page(runs[0])) or _page_of_runs(runs, o)
    target = o or target
    write_text(target, text, "choose another file with -o")
    stderr().print(f"report  {target}", soft_wrap=True, markup=False)
    sys.stdout.write(f"{target}\n")
    return 0


def refresh(run: Path) -> None:
    """Write the page of one run of `tune` anew."""
    target, text = _page_of_runs([run], None)
    write_text(target, text, "make the run folder writable")


def _page_of_runs(runs: Sequence[Path], o: Path | None) -> tuple[Path, str]:
    """Default place and text of the page of runs; the table of trials beside it where the place is the default."""
    from reports import render, render_phases, trials_csv

    if any((run / phases.FILE).is_file() for run in runs):
        return runs[0] / "report.html", render_phases([phases.read(run) for run in runs])
    folders = [RunFolder.existing(run) for run in runs]
    studies = [folder.study() for folder in folders]
    target = o or folders[0].report_html
    if o is None:
        write_text(folders[0].trials_csv, trials_csv(studies[0]), "choose another file with -o")
    text = render(
        studies,
        run_dirs=[folder.root for folder in folders],
        thumbnail=thumbnail,
        profiles=[folder.profile_seen_from(target) for folder in folders],
    )
    return target, text


def _other_page(source: Path) -> tuple[Path, str] | None:
    """Default place and text of the page of a history or a benchmark file; None for a run folder."""
    from harness.check.benchmarks import read_benchmarks
    from harness.check.history import is_history, read
    from reports import render_benchmarks, render_history

    if source.suffix == ".json":
        return source.with_suffix(".html"), render_benchmarks(source.name, read_benchmarks(source))
    if not _is_run(source) and is_history(source):
        return source / "report.html", render_history(read(source))
    return None


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, which may hold lines of something else as well."""
    return RunFolder(folder).study_json.is_file() or (folder / phases.FILE).is_file()
