"""The record: failures, cautions, machine, versions, data sets, every trial, and files to take away."""

import base64
from collections.abc import Sequence

from harness import objectives
from harness.machine import Caution
from reports import tables
from reports.blocks import Block, Code, Download, Downloads, Folded, Notices, Row, Table, long, num, text
from reports.sections.phrases import changed, machine_line
from reports.view import Run, Trial
from reports.words import DASH, count, duration, number, percent, shorten

_MESSAGE_CHARACTERS = 400
_STDERR_CHARACTERS = 4000
_STDERRS = 20


def failures(run: Run) -> Sequence[Block]:
    """Every trial that gave no measurement, with what it said at last."""
    failed = [trial for trial in run.trials if trial.failure]
    if not failed:
        return []
    columns = (
        num("Trial"),
        text("Kind"),
        text("While"),
        long("Message"),
        long("Settings that differ from the defaults"),
    )
    rows = [
        Row(
            (
                str(t.number),
                f.kind.value,
                f.stage,
                shorten(f.message, _MESSAGE_CHARACTERS),
                changed(run, t.variant),
            )
        )
        for t in failed
        if (f := t.failure)
    ]
    blocks: list[Block] = [Table(f"{count(len(failed), 'trial')} of {len(run.trials)} failed", columns, rows)]
    said = [
        (t.number, "\n".join(t.failure.stderr_tail)) for t in failed if t.failure and t.failure.stderr_tail
    ]
    for number_, stderr in said[:_STDERRS]:
        tail = stderr[-_STDERR_CHARACTERS:]
        blocks.append(Folded(f"Last lines of trial {number_}", [Code("Standard error", tail)]))
    return blocks


def cautions(run: Run) -> Sequence[Block]:
    """Doubts about the run, each with its advice."""
    doubts = [_sentence(caution) for caution in run.study.cautions]
    if "best" in run.sides:
        broken = [page for page in run.sides["best"].records.values() if page.error]
        if broken:
            pages = count(len(broken), "page")
            doubts.append(f"The engine failed on {pages} with the chosen settings; they count as empty.")
    if run.drift and run.measured and Caution.NO_GROUND_TRUTH.sentence not in run.study.cautions:
        doubts.append(
            "These pages have no ground truth: accuracy is the distance to the baseline's own output."
        )
    return [Notices(doubts)] if doubts else []


def _sentence(caution: str) -> str:
    """A caution whose name, such as `too_few_pages`, reads as words."""
    name, colon, rest = caution.partition(":")
    return f"{name.replace('_', ' ').capitalize()}:{rest}" if colon and name.isidentifier() else caution


def profile(run: Run) -> Sequence[Block]:
    """Where the profile of the run lies, if it has one."""
    if run.profile is None:
        return []
    return [Downloads([Download("Profile", "a page beside this one", run.profile, is_inside=False)])]


def provenance(run: Run) -> Sequence[Block]:
    """Machine, versions, data sets, seed and budget."""
    study, machine = run.study, run.study.machine
    facts = {
        "Machine": machine_line(machine),
        "Device": study.device,
        "System": " ".join(part for part in (machine.system, machine.kernel) if part),
        "Fingerprint": study.fingerprint,
        "Run": study.id,
        "Created": study.created,
        "Objective": objectives.described(study),
        "Budget and spent": f"{duration(study.budget_s)}, {duration(study.spent_s)}",
        "Seed": str(study.seed),
        "Noise": "" if study.noise_pct is None else f"{study.noise_pct:.1f} % between trials of one variant",
        "Python": machine.python,
        **{
            f"{gpu.name} #{gpu.index}": f"{gpu.memory_mib:,} MiB, driver {gpu.driver}" for gpu in machine.gpus
        },
    }
    versions = [Row((name, version)) for name, version in sorted(study.versions.items())]
    data = [
        Row((d.name, f"{d.pages:,}", d.profile, d.licence, d.sha256[:16], f"{len(d.skipped):,}"))
        for d in study.data
    ]
    skipped = [Row((page, name, why)) for d in study.data for page, why in d.skipped for name in [d.name]]
    columns = (text("Set"), num("Pages"), text("Profile"), text("Licence"), text("SHA-256"), num("Skipped"))
    blocks: list[Block] = [Table("Data sets", columns, data)] if data else []
    if skipped:
        table = Table("Skipped pages", (text("Page"), text("Set"), long("Why")), skipped)
        blocks.append(Folded(f"{count(len(skipped), 'page')} could not be used", [table]))
    rows = [Row(fact) for fact in facts.items() if fact[1]]
    blocks.append(Table("Machine and run", (text("What"), long("Value")), rows))
    if versions:
        table = Table("Package versions", (text("Package"), text("Version")), versions)
        blocks.append(Folded(count(len(versions), "package version"), [table]))
    return blocks


def trials(run: Run) -> Sequence[Block]:
    """Every trial in the order of the run, and the raw figures as files."""
    files = (
        Download(
            "trials.csv", "one row a trial, one column a setting", _uri("text/csv", tables.csv_text(run))
        ),
        Download(
            "run.json", "study, confirmation, trials, pages", _uri("application/json", tables.run_json(run))
        ),
    )
    if not run.trials:
        return [Downloads(files)]
    columns = (
        *(
            num("Trial"),
            text("Phase"),
            text("Outcome"),
            num("Pages"),
            num("Pages/s"),
            num("p50, ms"),
            num("p95, ms"),
        ),
        *(num(run.error_name), num("Peak, MiB"), num("Cold start, s"), num("Cost, s")),
        *(long("Settings that differ from the defaults"), long("Note")),
    )
    table = Table("All trials, in order", columns, [_trial_row(run, trial) for trial in run.trials])
    return [Downloads(files), Folded(f"Show {count(len(run.trials), 'trial')}", [table])]


def _trial_row(run: Run, trial: Trial) -> Row:
    result, measurement, study_baseline = trial.result, trial.measurement, run.study.baseline
    outcome = trial.failure.kind.value if trial.failure else "ok"
    cells = (
        *(str(trial.number), result.phase, outcome, str(len(trial.records)) if measurement else DASH),
        *(number(trial.pages_per_second), number(trial.latency_ms(50)), number(trial.latency_ms(95))),
        *(
            percent(trial.cer),
            number(trial.rss_peak_mib),
            number(measurement.cold_start_s if measurement else None),
        ),
        *(number(result.wall_s), changed(run, trial.variant), shorten(result.note, _MESSAGE_CHARACTERS)),
    )
    if trial.failure:
        return Row(cells, "failed")
    if study_baseline and trial.variant == study_baseline.variant:
        return Row(cells, "baseline")
    return Row(cells, "best" if trial.variant == run.study.best else "")


def _uri(kind: str, content: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content.encode()).decode()}"
