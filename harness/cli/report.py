"""`tune report`: the HTML page of one or more runs."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.common import stderr, thumbnail
from harness.errors import UserError
from harness.phases import store as phases
from harness.store import RunFolder, write_atomic


def report(*runs: Path, o: Annotated[Path | None, Parameter(name=["-o", "--output"])] = None) -> int:
    """Write the HTML page of one or more runs, side by side.

    Parameters
    ----------
    runs
        Run folders of `tune`, or of `tune phases`.
    o
        The page. Default: report.html in the run folder; with several runs it must be given.
    """
    from reports import render, render_phases, trials_csv

    if not runs:
        raise UserError(
            "give the folder of at least one run, such as `tune report runs/20260101-120000-ppocr`"
        )
    if o is None and len(runs) > 1:
        raise UserError("with several runs, say where the page goes: -o compared.html")
    if any((run / phases.FILE).is_file() for run in runs):
        page = render_phases([phases.read(run) for run in runs])
        return _write(o or runs[0] / "report.html", page)
    folders = [RunFolder.existing(run) for run in runs]
    studies = [folder.study() for folder in folders]
    target = o or folders[0].report_html
    status = _write(
        target, render(studies, run_dirs=[folder.root for folder in folders], thumbnail=thumbnail)
    )
    if len(folders) == 1:
        write_atomic(folders[0].trials_csv, trials_csv(studies[0]))
    return status


def _write(target: Path, page: str) -> int:
    try:
        write_atomic(target, page)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; choose another file with -o") from error
    stderr().print(f"report  {target}", soft_wrap=True)
    sys.stdout.write(f"{target}\n")
    return 0
