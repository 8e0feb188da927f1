"""`tune check`: the pinned good config and build beside the current ones."""

import math
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engines.interface import Machine
from harness import environments
from harness.check import builds, outputs
from harness.check.builds import Build
from harness.check.gate import Gated, Side, gate
from harness.check.history import Night, Point, append
from harness.check.outputs import CheckResult
from harness.check.verdicts import Outcome, Tolerances, joint
from harness.cli.arguments import seconds
from harness.cli.common import LoadedData, load_data, print_json, stderr, write_text
from harness.comparing import has_drifted
from harness.config import TunedConfig, read_config
from harness.environments import recorded
from harness.errors import UserError
from harness.machine import Caution, cautions, describe, detect, fingerprint, resolve_device
from harness.measure import Bench, truth_caution
from harness.space import Space, load_engine
from harness.values import Variant

_EXITS = {Outcome.PASS: 0, Outcome.REGRESSION: 1, Outcome.INCONCLUSIVE: 3}
_HERE = Build("this build")


def check(
    *,
    baseline: Path,
    config: Path | None = None,
    against: str | None = None,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    profile: str | None = None,
    history: Path | None = None,
    budget: Annotated[float, Parameter(converter=seconds)] = 300.0,
    tolerances: Annotated[Tolerances, Parameter(name="*")] = Tolerances(),  # noqa: B008  frozen
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
    junit: Path | None = None,
    markdown: Path | None = None,
    github: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Is the current config and build still as fast and as accurate as the pinned one?

    Exits 0 where it is, 1 for a regression, 3 where the budget was too short to tell.

    Parameters
    ----------
    baseline
        The pinned config, such as best.yaml.
    config
        The current config. Default: the pinned one.
    against
        Build of the baseline side: a git revision of the repository here, or a package version such as
        rapidocr==3.9.0. Default: the engine's package versions that the pinned config records.
    data
        Data set or path; may be given several times.
    profile
        Normalisation profile instead of the data set's own.
    history
        Folder to which this night is added; `tune report` draws it.
    budget
        Longest time of the measurement; installing the other build is not counted.
    tolerances
        How much worse each metric may be.
    seed
        Seed of page order and coins.
    json
        Print one JSON document.
    junit
        Write JUnit XML there.
    markdown
        Write a summary there. In a GitHub job it goes to the job's page as well.
    github
        Print annotations for GitHub on stdout, or on stderr with --json.
    """
    _refuse_odd(tolerances)
    console, machine = stderr(), detect()
    pinned = read_config(baseline)
    now = read_config(config) if config else pinned
    doubts = [caution.sentence for caution in cautions(machine)]
    with console.status("preparing the build of the baseline"):
        build = _build(against, pinned, machine)
    sides = (Side(_variant(pinned, machine, build), build), Side(_variant(now, machine, _HERE), _HERE))
    if sides[0] == sides[1]:
        known = pinned.machine.versions if pinned.machine else {}
        # An engine in an environment of its own, or other weights, are versions that no build here can bring back.
        same = not known or known == recorded(load_engine(pinned.engine, machine))
        doubts.append((Caution.SAME_SIDES if same else Caution.OTHER_MACHINE).sentence)
    for path in (junit, markdown):
        if path and not path.absolute().parent.is_dir():
            raise UserError(f"cannot write {path}: its folder does not exist; make it or choose another file")
    loaded = load_data(data or [], profile, console)
    if doubt := truth_caution(loaded.references):
        doubts.append(doubt.sentence)
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch, console.status("round 1") as status:
        bench = Bench(loaded.pages, loaded.references, Path(scratch), machine, seed)
        measured = gate(
            bench,
            *sides,
            tolerances,
            budget_s=budget,
            progress=lambda number: status.update(f"round {number + 1}"),
        )
    if measured.failed_side == 0:
        raise UserError(
            f"the baseline ({baseline}, {build.name}) cannot be measured: {measured.failure}; mend or replace it"
        )
    if has_drifted(measured.drift):
        doubts.append(Caution.DRIFT.sentence)
    names = (f"{baseline} ({build.name})", f"{config or baseline} ({_HERE.name})")
    result = _result(measured, names, machine, doubts)
    # Each is worth more than the next, should the disk be full.
    _print(result, as_json=json, github=github)
    if history:
        _remember(history, result, now, machine, loaded, build)
    _write(result, junit, markdown)
    return _EXITS[result.outcome]


def _refuse_odd(tolerances: Tolerances) -> None:
    """Raises UserError for what is no share."""
    for name, share in asdict(tolerances).items():
        if not 0 <= share < math.inf:
            raise UserError(f"--{name.replace('_', '-')} is a share such as 0.05, not {share:g}")
    if not 0 < tolerances.max_slowdown < 1:
        raise UserError(
            f"--max-slowdown is a share between 0 and 1, such as 0.05, not {tolerances.max_slowdown:g}"
        )


def _build(against: str | None, pinned: TunedConfig, machine: Machine) -> Build:
    if elsewhere := environments.interpreter(pinned.engine):
        if against:
            raise UserError(
                f"engine {pinned.engine!r} runs under {elsewhere}, where --against cannot put another build; "
                "leave --against out"
            )
        return _HERE
    if against:
        return builds.build(against)
    recorded = pinned.machine.versions if pinned.machine else {}
    changed = builds.changed_since(recorded, load_engine(pinned.engine, machine).packages())
    return builds.packages(changed) if changed else _HERE


def _variant(config: TunedConfig, machine: Machine, build: Build) -> Variant:
    device = resolve_device(config.device, machine)
    space = Space.of(config.engine, device, machine)
    if build.interpreter is None:
        return space.suggested(config.settings)
    # Another build may have knobs that this one has not: its settings are for it to judge.
    known = {name: value for name, value in config.settings.items() if name in space.by_name}
    complete = space.suggested(known)
    return Variant(config.engine, device, {**complete.settings, **config.settings})


def _result(measured: Gated, names: tuple[str, str], machine: Machine, doubts: list[str]) -> CheckResult:
    outcome = Outcome.REGRESSION if measured.failure else joint(measured.findings)
    failure = f"the current side cannot be measured: {measured.failure}" if measured.failure else None
    return CheckResult(
        outcome=outcome,
        findings=measured.findings,
        baseline=names[0],
        current=names[1],
        pages=measured.pages,
        rounds=measured.rounds,
        seconds=measured.seconds,
        machine=describe(machine),
        fingerprint=fingerprint(machine, {}),
        cautions=tuple(doubts),
        failure=failure,
    )


def _print(result: CheckResult, *, as_json: bool, github: bool) -> None:
    if as_json:
        print_json(outputs.document(result))
    else:
        _say(result)
    if github:
        (sys.stderr if as_json else sys.stdout).write(outputs.annotations(result))


def _write(result: CheckResult, junit: Path | None, summary: Path | None) -> None:
    for path, text in ((junit, outputs.junit(result)), (summary, outputs.markdown(result))):
        if path:
            write_text(path, text, "choose another file")
    if job := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(job).open("a", encoding="utf-8") as file:
                file.write(outputs.markdown(result))
        except OSError as error:  # a container may not see the job's file, and the verdict is what counts
            stderr().print(f"no summary on the job's page: {error}", markup=False, soft_wrap=True)


def _say(result: CheckResult) -> None:
    from rich.console import Console

    out = Console(highlight=False, markup=False, soft_wrap=True)
    out.print(f"{result.outcome.upper()}: {result.current} beside {result.baseline}")
    if result.failure:
        out.print(result.failure)
    for finding in result.findings:
        out.print(f"  {finding.outcome:<12}  {outputs.sentence(finding)}")
    out.print(f"{result.rounds} rounds of fresh processes, {result.pages} pages, {result.seconds:.0f} s")
    for caution in result.cautions:
        out.print(f"caution {caution}")
    if result.outcome is Outcome.INCONCLUSIVE:
        out.print("A longer --budget, more pages or a quieter machine would settle it.")


def _remember(
    folder: Path,
    result: CheckResult,
    config: TunedConfig,
    machine: Machine,
    loaded: LoadedData,
    build: Build,
) -> None:
    found: Mapping[str, str] = recorded(load_engine(config.engine, machine))
    night = Night(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=result.fingerprint,
        machine=result.machine,
        commit=builds.commit_of(),
        against=build.name,
        versions=dict(found),
        data={data.name: data.sha256 for data in loaded.summaries},
        pages=result.pages,
        rounds=result.rounds,
        outcome=result.outcome,
        metrics={
            finding.name: Point(
                baseline=finding.baseline,
                current=finding.current,
                worse=finding.worse.value,
                outcome=finding.outcome,
            )
            for finding in result.findings
        },
        failure=result.failure,
    )
    append(folder, night)
