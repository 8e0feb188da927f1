"""`tune compare`: two variants side by side."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engines.interface import Machine
from harness.cli.arguments import seconds
from harness.cli.common import load_data, print_json, stderr
from harness.comparing import compare as measure_both
from harness.comparing import has_drifted
from harness.config import read_config
from harness.machine import Caution, cautions, detect, resolve_device
from harness.measure import Bench, truth_caution
from harness.space import Space, parse_variant
from harness.values import Comparison, Interval, Variant


def compare(
    a: str,
    b: str,
    /,
    *,
    device: str = "auto",
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    profile: str | None = None,
    budget: Annotated[float, Parameter(converter=seconds)] = 900.0,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure A and B on the same pages, interleaved in rounds of fresh processes.

    Ends as soon as the verdict is clear and every page was read, or with the budget. Exits 0 with a verdict of
    FASTER, SLOWER, SAME or INCONCLUSIVE for B against A; 1 where a side cannot be measured.

    Parameters
    ----------
    a
        A config file, or engine[:knob=value,...].
    b
        Likewise.
    device
        auto, cpu, cuda:0, ...; a config file's own device wins.
    data
        Data set or path; may be given several times.
    profile
        Normalisation profile instead of the data set's own.
    budget
        Longest time that it may take.
    seed
        Seed of page order and coins.
    json
        Print one JSON document.
    """
    console = stderr()
    machine = detect()
    sides = [_side(text, resolve_device(device, machine), machine) for text in (a, b)]
    doubts = [*cautions(machine)]
    loaded = load_data(data or [], profile, console)
    if doubt := truth_caution(loaded.references):
        doubts.append(doubt)
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch, console.status("round 1") as status:

        def progress(number: int, speedup: Interval) -> None:
            status.update(
                f"round {number + 1}; so far B runs at {speedup.value:.3f} times the throughput of A"
            )

        bench = Bench(loaded.pages, loaded.references, Path(scratch), machine, seed)
        result = measure_both(bench, sides[0], sides[1], budget_s=budget, progress=progress)
    if has_drifted(result.drift):
        doubts.append(Caution.DRIFT)
    if json:
        print_json({**document(result), "cautions": [doubt.sentence for doubt in doubts]})
    else:
        say(result, a, b, doubts)
    return 1 if result.failure else 0


def _side(text: str, device: str, machine: Machine) -> Variant:
    path = Path(text)
    try:
        is_config = path.suffix in {".yaml", ".yml"} or path.is_file()
    except OSError:  # a variant may be longer than any file's name
        is_config = False
    if is_config:
        config = read_config(path)
        return Space.of(config.engine, config.device, machine).suggested(config.settings)
    return parse_variant(text, device, machine)


def document(result: Comparison) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {
        "a": {"engine": result.a.engine, "device": result.a.device, "settings": dict(result.a.settings)},
        "b": {"engine": result.b.engine, "device": result.b.device, "settings": dict(result.b.settings)},
        "verdict": result.verdict,
        "speedup": _figure(result.speedup),
        "cer_a": _figure(result.cer_a),
        "cer_b": _figure(result.cer_b),
        "cer_increase": _figure(result.cer_increase),
        "cer_increase_by_set": {name: _figure(each) for name, each in result.cer_increase_by_set.items()},
        "rounds": len(result.log_ratios),
        "pages": result.pages,
        "failure": result.failure,
    }


def _figure(interval: Interval) -> dict[str, Any] | None:
    if math.isnan(interval.value):
        return None
    bounds = [interval.low, interval.high]
    return {"value": interval.value, "ci95": bounds if all(map(math.isfinite, bounds)) else None}


def say(result: Comparison, a: str, b: str, doubts: Sequence[Caution]) -> None:
    """Print it for people."""
    from rich.console import Console

    out = Console(highlight=False)
    if result.failure:
        out.print(f"cannot compare: {result.failure}", markup=False, soft_wrap=True)
        return
    ratio, cer = result.speedup, result.cer_increase
    out.print(f"B is [bold]{result.verdict}[/]: {_ratio(ratio)} times the throughput of A")
    if not math.isnan(cer.value):
        out.print(
            f"CER {100 * result.cer_a.value:.2f} % (A) and {100 * result.cer_b.value:.2f} % (B): {_points(cer)}"
        )
    for name, each in result.cer_increase_by_set.items():
        out.print(f"  {name}: {_points(each)}", markup=False, soft_wrap=True)
    out.print(f"{len(result.log_ratios)} rounds of fresh processes, {result.pages} pages")
    out.print(f"A: {a}\nB: {b}", markup=False, soft_wrap=True)
    for doubt in doubts:
        out.print(f"caution {doubt.sentence}", markup=False, soft_wrap=True)
    if result.verdict == "INCONCLUSIVE":
        apart = "FASTER and SLOWER ask for an interval of 99 %. " if not ratio.low <= 1 <= ratio.high else ""
        out.print(f"{apart}More rounds would settle it: give a longer --budget or more pages.")


def _points(interval: Interval) -> str:
    return (
        f"{100 * interval.value:+.2f} points "
        f"(95 % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
    )


def _ratio(interval: Interval) -> str:
    if not math.isfinite(interval.high):
        return f"{interval.value:.3f} (too few rounds for an interval)"
    return f"{interval.value:.3f} (95 % interval {interval.low:.3f} to {interval.high:.3f})"
