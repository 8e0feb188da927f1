"""`tune bench`: measures one variant."""

import json as jsonlib
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.markup import escape

from engines.interface import STAGES, Machine
from harness.accuracy.bootstrap import cer_interval
from harness.accuracy.scores import PageScore, by_set, metrics, summarise
from harness.acting import Traits, idle_settings
from harness.bottleneck import bottleneck
from harness.cli import bench_scenarios
from harness.cli.arguments import seconds
from harness.cli.bench_scenarios import Wanted
from harness.cli.common import LoadedData, load_data, print_json, stderr
from harness.config import TunedConfig, read_config
from harness.environments import recorded
from harness.errors import UserError
from harness.machine import Caution, cautions, detect, fingerprint, resolve_device
from harness.measure import Bench
from harness.scenarios import Traffic
from harness.space import Space, load_engine, parse_settings
from harness.stats import mean_interval, percentile
from harness.store import write_atomic
from harness.values import Failure, Interval, Measurement, Variant

_BATCHES = 10
_FOUND_NOTHING = 1


def bench(
    *,
    config: Path | None = None,
    engine: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    device: str = "auto",
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    profile: str | None = None,
    scenario: Literal["offline", "single", "server"] = "offline",
    rate: float | None = None,
    max_p99_ms: float | None = None,
    requests: int | None = None,
    timeout: Annotated[float, Parameter(converter=seconds)] = 3600.0,
    out: Path | None = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure one variant: throughput, latency, accuracy, where the time goes, counters.

    Parameters
    ----------
    config
        A tuned config, such as best.yaml.
    engine
        Engine, where no config is given. Default: ppocr.
    set_
        A setting, knob=value; may be given several times and wins over the config.
    device
        auto, cpu, cuda:0, ...; default: the config's.
    data
        Data set or path; may be given several times.
    profile
        Normalisation profile instead of the data set's own.
    scenario
        offline: all pages at once, for throughput. single: one page at a time, for latency. server: pages arrive at
        random times whether or not the engine keeps up; latency counts from arrival.
    rate
        Pages a second that arrive, for the server scenario.
    max_p99_ms
        For the server scenario without --rate: find the highest rate at which p99 stays below this.
    requests
        Pages to ask for, taken in turns; default: each once, and 662 in the server scenario, which p99 needs.
    timeout
        Longest time that it may take.
    out
        Folder for pages.jsonl and bench.json.
    seed
        Seed of the order in which pages are read.
    json
        Print one JSON document.
    """
    wanted = Wanted(Traffic(scenario), rate, max_p99_ms, requests)
    console = stderr()
    machine = detect()
    tuned = read_config(config) if config else None
    variant = asked_variant(tuned, engine, set_ or [], device, machine)
    loaded = load_data(data or [], profile, console)
    doubts = [caution.sentence for caution in cautions(machine)]
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch, console.status("measuring"):
        run = Bench(loaded.pages, loaded.references, Path(scratch), machine, seed)
        outcome, described = bench_scenarios.run(run, variant, wanted, timeout)
    if isinstance(outcome, Failure):
        console.print(
            f"[bold red]{outcome.kind}[/] while {outcome.stage}: {escape(outcome.message)}", soft_wrap=True
        )
        for line in outcome.stderr_tail:
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if json:
            print_json(
                {"engine": variant.engine, "failure": {"kind": outcome.kind, "message": outcome.message}}
            )
        return _FOUND_NOTHING
    scores = run.score(list(outcome.first_readings.values()))
    document = {**summary(variant, outcome, scores, machine), "scenario": described}
    document["cautions"] = doubts + _of_another_machine(tuned, document["machine"]["fingerprint"])
    document["cautions"] += _of_idle_settings(variant, loaded, machine)
    if out:
        _write(out, loaded, outcome, scores, document)
    if json:
        print_json(document)
    else:
        _say(document)
    return 0


def asked_variant(
    tuned: TunedConfig | None, engine: str | None, pairs: list[str], device: str, machine: Machine
) -> Variant:
    """The variant of a config or of an engine as shipped, with the settings `pairs` on top. Raises UserError."""
    if tuned and engine and engine != tuned.engine:
        raise UserError(f"the config is for engine {tuned.engine!r}; leave out --engine {engine}")
    name = tuned.engine if tuned else engine or "ppocr"
    chosen = tuned.device if tuned and device == "auto" else resolve_device(device, machine)
    space = Space.of(name, chosen, machine)
    settings = {**(tuned.settings if tuned else {}), **parse_settings(pairs, space.by_name, name)}
    return space.variant(settings) if tuned is None else space.suggested(settings)


def summary(
    variant: Variant, measurement: Measurement, scores: list[PageScore], machine: Machine
) -> dict[str, Any]:
    """The document that `--json` prints. Figures that do not exist are null."""
    adapter = load_engine(variant.engine, machine)
    facts = recorded(adapter)
    latencies_ms = [1000 * page.seconds for page in measurement.pages]
    spent_ms = measurement.stage_ms
    stage_ms = {stage: spent_ms[stage] for stage in STAGES if stage in spent_ms}
    bound = bottleneck(
        {stage: sum(page.stage_s.get(stage, 0.0) for page in measurement.pages) for stage in stage_ms},
        measurement.samples,
        machine,
        measurement.wall_s,
        variant.settings,
    )
    rate = throughput_interval(measurement)
    read = [score for score in scores if score.characters.reference_length]
    return {
        "engine": variant.engine,
        "device": variant.device,
        "settings": dict(variant.settings),
        "machine": {
            "fingerprint": fingerprint(machine, facts),
            "cpu_model": machine.cpu_model,
            "cores": machine.cores,
            "memory_mib": machine.memory_mib,
            "gpus": [gpu.name for gpu in machine.gpus],
            "versions": facts,
        },
        "pages": len(measurement.pages),
        "failed_pages": [
            {"id": page.page_id, "error": page.error} for page in measurement.pages if page.error is not None
        ],
        "pages_per_second": {"value": rate.value, "ci95": _bounds(rate)},
        "latency_ms": {f"p{p}": percentile(latencies_ms, p) for p in (50, 90, 95, 99)},
        "cer": _accuracy(read) if read else None,
        "wer": summarise(read).wer if read else None,
        "per_set": {name: {"pages": part.pages, **metrics(part)} for name, part in by_set(read).items()}
        if read
        else {},
        "stage_ms": stage_ms,
        "counters": {**_counters(measurement), "absent": dict(measurement.absent)},
        "bottleneck": {"resource": bound.resource, "sentence": bound.sentence},
        "cold_start_s": measurement.cold_start_s,
        "build_s": measurement.build_s,
        "facts": {
            name: {"cold": list(fact.cold), "steady": list(fact.steady)}
            for name, fact in measurement.facts.items()
        },
    }


def throughput_interval(measurement: Measurement) -> Interval:
    """Pages a second with a 95 % interval by batch means over the order in which pages were done."""
    rate = measurement.pages_per_second
    done = sorted(page.done_s for page in measurement.pages)
    size = len(done) // _BATCHES
    if size < 1:
        return Interval(rate, float("-inf"), float("inf"))
    ends = [0.0, *(done[(i + 1) * size - 1] for i in range(_BATCHES))]
    per_page = mean_interval([(after - before) / size for before, after in pairwise(ends)])
    half = (per_page.high - per_page.low) / 2 / per_page.value * rate
    return Interval(rate, max(0.0, rate - half), rate + half)


def _counters(measurement: Measurement) -> dict[str, dict[str, float]]:
    """Mean and peak of each counter over the trial, cold start included."""
    values: dict[str, list[float]] = {}
    for sample in measurement.samples:
        for name, value in sample.values.items():
            values.setdefault(name, []).append(value)
    return {name: {"mean": statistics.fmean(seen), "max": max(seen)} for name, seen in sorted(values.items())}


def _accuracy(scores: list[PageScore]) -> dict[str, Any]:
    pooled, interval = summarise(scores), cer_interval(scores)
    edits = pooled.characters
    return {
        "value": pooled.cer,
        "ci95": _bounds(interval),
        "substitutions": edits.substitutions,
        "deletions": edits.deletions,
        "insertions": edits.insertions,
        "reference_characters": edits.reference_length,
        "line_matched": pooled.line_cer,
        "page_median": pooled.page_cer(0.5),
        "page_p90": pooled.page_cer(0.9),
    }


def _bounds(interval: Interval) -> list[float] | None:
    finite = abs(interval.low) < float("inf") and abs(interval.high) < float("inf")
    return [interval.low, interval.high] if finite else None


def _of_another_machine(tuned: TunedConfig | None, fingerprint_here: str) -> list[str]:
    if tuned is None or tuned.machine is None or tuned.machine.fingerprint == fingerprint_here:
        return []
    return [Caution.OTHER_MACHINE.sentence]


def _of_idle_settings(variant: Variant, loaded: LoadedData, machine: Machine) -> list[str]:
    space = Space.of(variant.engine, variant.device, machine)
    idle = idle_settings(variant.settings, space, Traits.of(loaded.pages))
    return [f"{Caution.IDLE_SETTING.sentence} {name}: {reason}." for name, reason in idle.items()]


def _write(
    out: Path, loaded: LoadedData, outcome: Measurement, scores: list[PageScore], document: dict[str, Any]
) -> None:
    records = outcome.first_readings
    scored = {score.page_id: score for score in scores}
    lines = []
    for page in loaded.pages:
        if page.id not in records:  # fewer requests than pages
            continue
        record, edits = records[page.id], scored[page.id].characters
        lines.append(
            jsonlib.dumps(
                {
                    "id": page.id,
                    "set": page.set,
                    "text": record.text,
                    "seconds": record.seconds,
                    "stage_ms": {stage: 1000 * spent for stage, spent in record.stage_s.items()},
                    "edits": {"s": edits.substitutions, "d": edits.deletions, "i": edits.insertions},
                    "reference_chars": edits.reference_length,
                },
                ensure_ascii=False,
            )
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "pages.jsonl", "\n".join(lines) + "\n")
        write_atomic(out / "bench.json", jsonlib.dumps(document, indent=2, ensure_ascii=False))
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _say(document: dict[str, Any]) -> None:
    """The same figures for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    rate, latency = document["pages_per_second"], document["latency_ms"]
    interval = f" (95 % interval {rate['ci95'][0]:.2f} to {rate['ci95'][1]:.2f})" if rate["ci95"] else ""
    table.add_row("variant", " ".join(f"{name}={value}" for name, value in document["settings"].items()))
    table.add_row("scenario", bench_scenarios.sentence(document["scenario"]))
    table.add_row("throughput", f"{rate['value']:.3f} pages/s{interval} on {document['pages']} pages")
    table.add_row(
        "latency",
        ", ".join(
            f"{name} {value:.0f} ms" if value is not None else f"{name} needs more pages"
            for name, value in latency.items()
        ),
    )
    if document["cer"]:
        table.add_row("CER", f"{100 * document['cer']['value']:.2f} %")
        for name, part in document["per_set"].items():
            table.add_row("", f"{100 * part['cer']:.2f} % {name} ({part['pages']} pages)")
    if document["wer"] is not None:
        table.add_row("WER", f"{100 * document['wer']:.2f} %")
    table.add_row("stages", ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in document["stage_ms"].items()))
    table.add_row("bound by", document["bottleneck"]["sentence"])
    built = f", {document['build_s']:.2f} s of it building models" if document["build_s"] else ""
    table.add_row("cold start", f"{document['cold_start_s']:.2f} s{built}")
    for name, fact in document["facts"].items():
        told = f"{max(fact['cold']):.6g} until warm, {max(fact['steady']):.6g} since"
        table.add_row(name, f"{told} (the most of any replica)" if len(fact["cold"]) > 1 else told)
    for caution in document["cautions"]:
        table.add_row("caution", caution)
    for page in document["failed_pages"]:
        table.add_row("failed page", f"{page['id']}: {page['error']}")
    Console(highlight=False, markup=False).print(table)
