"""`tune profile`: where the time of one variant goes, down to layers and functions."""

import json as jsonlib
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape

from harness import environments, profiler
from harness.cli.arguments import seconds
from harness.cli.bench import asked_variant
from harness.cli.common import load_data, print_json, stderr
from harness.config import read_config
from harness.errors import UserError
from harness.machine import describe, detect
from harness.search.plan import split_pages
from harness.store import RunFolder, write_atomic
from harness.values import Variant

INDEX, LAYERS = "index.html", "layers.csv"
_FAILED = 1
_STDERR_LINES = 20
_PROFILE = TypeAdapter(profiler.Profile)
_SAYS = {
    profiler.FLAME: "flame graph of the Python side, a page that opens offline",
    profiler.SPEEDSCOPE: "the same for speedscope (https://www.speedscope.app)",
    profiler.TORCH: "PyTorch's trace",
    profiler.RUNTIME: "ONNX Runtime's traces, for chrome://tracing or https://ui.perfetto.dev",
    LAYERS: "every layer, one row each",
    profiler.PROFILE: "all figures of this page",
}


def profile(
    config: Path | None = None,
    /,
    *,
    engine: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    device: str = "auto",
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    pages: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    timeout: Annotated[float, Parameter(converter=seconds)] = 600.0,
    out: Path | None = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Where the time of one variant goes: stages, layers, Python functions, and a trace for TensorBoard.

    Profilers slow down what they watch: only the stage table is measured without one.

    Parameters
    ----------
    config
        A tuned config such as best.yaml, or a run folder, whose report then links to the profile.
    engine
        Engine, where no config is given. Default: ppocr.
    set_
        A setting, knob=value; may be given several times and wins over the config.
    device
        auto, cpu, cuda:0, ...; default: the config's.
    data
        Data set or path; may be given several times.
    pages
        Pages that are read, a fair sample of the data.
    timeout
        Longest time that it may take.
    out
        Folder for the profile. Default: profile in the run folder of the config, else profiles/DATE-ENGINE.
    seed
        Seed of the sample.
    json
        Print one JSON document.
    """
    console = stderr()
    if config is not None and config.is_dir():
        config = RunFolder.existing(config).best_yaml
    machine = detect()
    variant = asked_variant(read_config(config) if config else None, engine, set_ or [], device, machine)
    loaded = load_data(data or [], None, console)
    shuffled = split_pages(loaded.references, seed).every
    sample = [loaded.pages[index] for index in shuffled[:pages]]
    run = RunFolder(config.parent) if config and (config.parent / "study.json").is_file() else None
    folder = out or (
        run.profile if run else Path("profiles") / f"{datetime.now():%Y%m%d-%H%M%S}-{variant.engine}"
    )
    _refuse_foreign(folder)
    spec = {
        "engine": variant.engine,
        "device": variant.device,
        "settings": dict(variant.settings),
        "pages": [replace(page, text=None, boxes=()).to_json() for page in sample],
    }
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch:
        with console.status("profiling"):
            found = _profiled(variant, spec, Path(scratch), timeout, console)
        if found.failure is not None:
            console.print(f"[bold red]failed[/]: {escape(found.failure)}", soft_wrap=True)
            if json:
                print_json({"engine": variant.engine, "failure": found.failure})
            return _FAILED
        subtitle = f"{describe(machine)}, {len(found.stage_ms)} pages"
        _write(Path(scratch), folder, variant, found, subtitle)
    if run is not None:
        from harness.cli.report import refresh

        refresh(run.root)
    if json:
        print_json({"profile": str(folder), **jsonlib.loads((folder / profiler.PROFILE).read_text())})
    console.print(f"profile {folder / INDEX}", soft_wrap=True, markup=False)
    return 0


def _profiled(
    variant: Variant, spec: dict[str, Any], scratch: Path, timeout_s: float, console: Console
) -> profiler.Profile:
    """What the child finds; its death or its time-out is a failure with its last lines on the console."""
    path, log = scratch / "spec.json", scratch / "stderr.log"
    path.write_text(jsonlib.dumps(spec), encoding="utf-8")
    with log.open("wb") as out:
        try:
            done = subprocess.run(
                environments.command(variant.engine, "harness.profiler", str(path)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=timeout_s,
                check=False,
            )
            reason = f"the process ended with status {done.returncode}"
        except OSError as error:
            reason = f"the profiled process cannot be started: {error.strerror}"
        except subprocess.TimeoutExpired:
            reason = f"it did not end within {timeout_s:g} s; give a longer --timeout or fewer --pages"
    try:
        return _PROFILE.validate_json((scratch / profiler.PROFILE).read_bytes())
    except (OSError, ValidationError):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-_STDERR_LINES:]:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        return profiler.Profile(failure=reason)


def _write(scratch: Path, folder: Path, variant: Variant, found: profiler.Profile, subtitle: str) -> None:
    """Move what the child left into `folder` and write its page. Raises UserError."""
    from reports import layers_csv, render_profile

    (scratch / LAYERS).write_text(layers_csv(found.layers), encoding="utf-8")
    files, commands = dict[str, str](), dict[str, str]()
    for name, says in _SAYS.items():
        if name == LAYERS and not found.layers:
            continue
        if (scratch / name).is_dir():
            files |= {f"{name}/{path.name}": says for path in sorted((scratch / name).iterdir())}
        elif (scratch / name).exists():
            files[name] = says
    if (scratch / profiler.TORCH).exists():
        logs = folder.absolute() / profiler.TORCH
        commands["PyTorch's trace in TensorBoard"] = (
            f"pip install tensorboard torch-tb-profiler\ntensorboard --logdir {shlex.quote(str(logs))}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*_SAYS, INDEX):
            _remove(folder / name)
        for name in {address.partition("/")[0] for address in files}:
            shutil.move(scratch / name, folder / name)
        title = f"Profile: {variant.engine} on {variant.device}"
        write_atomic(
            folder / INDEX,
            render_profile(title, subtitle, found.stage_ms, found.layers, files, commands, found.missing),
        )
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error


def _refuse_foreign(folder: Path) -> None:
    """What an earlier profile left makes room for a new one; what the user keeps there must not. Raises UserError."""
    taken = [name for name in (*_SAYS, INDEX) if (folder / name).exists()]
    if not taken:
        return
    try:
        _PROFILE.validate_json((folder / profiler.PROFILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{folder} holds {taken[0]}, which no profile has left there; choose another folder with --out"
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
