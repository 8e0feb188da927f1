"""The main job, from the user's request to best.yaml and report.html."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engines.interface import Machine
from harness import objectives
from harness.acting import Traits, idle_knobs, searched
from harness.cli.common import LoadedData, load_data, print_json, stderr, thumbnail
from harness.cli.terminal import Display, say
from harness.cli.tune import Request
from harness.config import to_yaml
from harness.devices import parse
from harness.energy import EnergyMeter
from harness.environments import recorded
from harness.errors import UserError
from harness.experiments import read_experiment
from harness.hardware_rule import available_memory_gib, rule_for, suggestion
from harness.machine import cautions, detect, fingerprint
from harness.outcome import tuned_config
from harness.search import memory
from harness.search.shared import join
from harness.search.tuner import Task, Tuner
from harness.space import Space, load_engine
from harness.store import RunFolder, write_atomic
from harness.values import Constraints, Study

_SHORTEST_BUDGET_S = 30.0
_SUGGESTIONS = 2
"""Trials that are spent on what was best elsewhere, for each source."""


def run(request: Request) -> int:
    """Tune, write the run folder, say what was found. Returns the exit status. Raises UserError."""
    began = time.perf_counter()
    console = stderr()
    _check(request)
    whole = detect()
    devices = parse(request.device, whole)
    # What is tuned is the engine on one of them: the others only share the work.
    device, machine = devices[0].name, replace(whole, cores=devices[0].seen_from(whole).cores)
    _check_objective(request, device, machine)
    space = Space.of(request.engine, device, machine)
    experiment = read_experiment(request.engine, device, machine).for_knobs(space.by_name)
    rule = suggestion(rule_for(machine, available_memory_gib()), space.by_name)
    loaded = load_data(request.data, request.profile, console)
    traits = Traits.of(loaded.pages)
    experiment = searched(experiment, space, traits)
    for name, reason in idle_knobs(space, traits).items():
        if name in (experiment.search or {}):
            console.print(f"[dim]{name} is not searched: {reason}", soft_wrap=True)
    folder = _folder(request)
    named = ",".join(device.label for device in devices)
    header = _header(request, named, machine, loaded)
    earlier = folder.study() if request.resume and folder.study_json.exists() else None
    if earlier:
        _refuse_other(earlier, header)
        folder.study_db.unlink(missing_ok=True)  # rebuilt from the trials, which are the truth
        header = replace(
            header,
            id=earlier.id,
            created=earlier.created,
            seed=earlier.seed,
            comparisons=earlier.comparisons,
            best=earlier.best,
            cautions=tuple(dict.fromkeys((*earlier.cautions, *header.cautions))),
        )
    shared = join(request.storage, header) if request.storage else None
    own, others = memory.starts(
        memory.earlier_runs(folder.root.parent, folder.root), header, space, suggestions=_SUGGESTIONS
    )
    others += shared.suggestions(space, _SUGGESTIONS) if shared else []
    # What was best here before comes first. A start may name what this machine lacks, such as weights or a build of a
    # runtime. The guess from the hardware alone is on top of the most careful start, which hardly reads otherwise.
    starts = [start for start in (*own, *others, *experiment.start) if space.admits(start)]
    guess = {**(experiment.start[-1] if experiment.start else {}), **rule}
    experiment = experiment.model_copy(update={"start": starts})
    side_by_side = devices if len(devices) > 1 or devices[0].cores else ()
    before_s = earlier.spent_s if earlier else 0.0
    header = replace(header, spent_s=before_s + time.perf_counter() - began)
    guesses = (guess,) if space.admits(guess) else ()
    task = Task(header, loaded.pages, space, experiment, shared, side_by_side, guesses)
    with Display(console, request.budget_s, header.spent_s, space.variant({})) as display:
        tuner = Tuner(task, folder, machine, display)
        study = tuner.run(earlier.trials if earlier else ())
    with _to_the_end():
        write_outcome(study, folder)
    if request.json:
        config = tuned_config(study)
        print_json({"run": str(folder.root), "config": config.model_dump(mode="json") if config else None})
    say(console, study, folder)
    return 0 if study.best else 1


def _check(request: Request) -> None:
    if request.budget_s < _SHORTEST_BUDGET_S:
        raise UserError(
            f"a budget of {request.budget_s:g} s is too short to measure the baseline; give at least 30s"
        )
    bounds = {
        "--max-p95-ms": request.max_p95_ms,
        "--max-p99-ms": request.max_p99_ms,
        "--max-memory-mib": request.max_memory_mib,
        "--max-gpu-memory-mib": request.max_gpu_memory_mib,
    }
    for name, bound in bounds.items():
        if bound is not None and bound <= 0:
            raise UserError(f"{name} is a bound above 0, not {bound:g}")
    if request.max_cer_increase < 0:
        raise UserError("--max-cer-increase is a share, such as 0.002 for 0.2 points; it cannot be negative")
    if request.resume and request.out is None:
        raise UserError("--resume needs the run folder to go on with: give it with --out")


def _check_objective(request: Request, device: str, machine: Machine) -> None:
    objectives.objective(request.objective, rate=request.rate, price_per_hour=request.price_per_hour)
    if request.max_gpu_memory_mib is not None and not device.startswith("cuda"):
        raise UserError(f"--max-gpu-memory-mib cannot be checked on {device}; leave it out or choose a GPU")
    if request.objective == "energy" and (reason := EnergyMeter(device, machine).absence):
        raise UserError(f"energy cannot be measured on {device} here: {reason}; choose another --objective")


def _folder(request: Request) -> RunFolder:
    folder = RunFolder.create(
        request.out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{request.engine}"
    )
    if folder.study_json.exists() and not request.resume:
        raise UserError(f"{folder.root} already holds a run; add --resume or choose another --out")
    return folder


def _header(request: Request, device: str, machine: Machine, loaded: LoadedData) -> Study:
    facts = recorded(load_engine(request.engine, machine))
    return Study(
        id=secrets.token_hex(6),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        engine=request.engine,
        device=device,
        objective=request.objective,
        budget_s=request.budget_s,
        spent_s=0.0,
        seed=request.seed,
        constraints=Constraints(
            max_cer_increase=request.max_cer_increase,
            max_p95_ms=request.max_p95_ms,
            max_memory_mib=request.max_memory_mib,
            max_p99_ms=request.max_p99_ms,
            max_gpu_memory_mib=request.max_gpu_memory_mib,
        ),
        machine=machine,
        fingerprint=fingerprint(machine, facts),
        versions=facts,
        data=loaded.summaries,
        references=loaded.references,
        trials=(),
        comparisons=(),
        best=None,
        cautions=tuple(caution.sentence for caution in cautions(machine)),
        rate=request.rate,
        price_per_hour=request.price_per_hour,
    )


@contextmanager
def _to_the_end() -> Iterator[None]:
    """SIGINT and SIGTERM are ignored: what was found takes seconds to write, and half of it is no report."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_outcome(study: Study, folder: RunFolder) -> None:
    """Write study.json, best.yaml, trials.csv and report.html."""
    from reports import render, trials_csv

    folder.save_study(study)
    config = tuned_config(study)
    if config is None:
        folder.best_yaml.unlink(missing_ok=True)
    else:
        write_atomic(folder.best_yaml, to_yaml(config))
    write_atomic(folder.trials_csv, trials_csv(study))
    page = folder.report_html
    profiles = [folder.profile_seen_from(page)]
    write_atomic(page, render([study], run_dirs=[folder.root], thumbnail=thumbnail, profiles=profiles))


def _refuse_other(earlier: Study, now: Study) -> None:
    """A run goes on only where it began and on what it began."""
    if earlier.fingerprint != now.fingerprint:
        raise UserError(
            "this run was begun on another machine or with other package versions; start a new one with --out"
        )
    if (earlier.engine, earlier.device) != (now.engine, now.device):
        raise UserError(
            f"this run tunes {earlier.engine} on {earlier.device}; give the same --engine and --device"
        )
    if (earlier.objective, earlier.rate, earlier.price_per_hour) != (
        now.objective,
        now.rate,
        now.price_per_hour,
    ):
        raise UserError(
            f"this run was begun for {objectives.described(earlier)}; give the same --objective or start a new run"
        )
    if [(data.sha256, data.profile) for data in earlier.data] != [
        (data.sha256, data.profile) for data in now.data
    ]:
        raise UserError(
            "this run was begun on other pages or under another --profile; give the same --data, unchanged, or start "
            "a new run"
        )
