"""What each runtime and precision of `ppocr` reads beside f32 in ONNX Runtime: identical lines, difference in CER.

    python -m tests.bench.numerics [--data NAME or PATH]... [--pages 4] [--model v6_small] [--out build/numerics]

Prints tables in Markdown and writes them and `numerics.json`. What was read stays in the folder and is not read
again: an interrupted run goes on where it was, and what could not run is tried again.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from engines import registry
from engines.interface import Machine, Page, Setting, Settings
from harness.accuracy.bootstrap import cer_increase, cer_interval
from harness.accuracy.scores import PageScore
from harness.cli.common import LoadedData, load_data
from harness.data import PageRef, decode
from harness.environments import versions_of
from harness.errors import UserError
from harness.machine import detect
from harness.measure import SLOWEST_PAGE_S, Bench, Limits, measure
from harness.space import Space
from harness.store import RunFolder, write_atomic
from harness.values import Failure, Interval, Measurement, PageRecord, TrialResult, Variant

REAL = Path(__file__).parents[3] / "shared" / "data"
CALIBRATION_PAGES = 8
ALL = "all sets"


def _both(**settings: Setting) -> dict[str, Setting]:
    return {f"{stage}_{name}": value for stage in ("det", "rec") for name, value in settings.items()}


REFERENCE = "ONNX Runtime f32"
_OPENVINO = _both(runtime="openvino")
_INT8 = "static int8 recognition"
VARIANTS: Mapping[str, Settings] = {
    REFERENCE: {},
    "ONNX Runtime dynamic int8 recognition": {"rec_quantization": "dynamic"},
    f"ONNX Runtime {_INT8}": {"rec_quantization": "static"},
    f"ONNX Runtime {_INT8} and detection": _both(quantization="static"),
    "OpenVINO f32": _OPENVINO,
    "OpenVINO bf16": {**_OPENVINO, **_both(precision="bf16")},
    "OpenVINO f16": {**_OPENVINO, **_both(precision="f16")},
    "OpenVINO dynamic int8 recognition": {**_OPENVINO, "rec_quantization": "dynamic"},
    f"OpenVINO {_INT8}": {**_OPENVINO, "rec_quantization": "static"},
    f"OpenVINO {_INT8} and detection": {**_OPENVINO, **_both(quantization="static")},
    "PyTorch f32": _both(runtime="torch"),
    "PyTorch bf16": _both(runtime="torch", autocast="bfloat16"),
}
"""Both stages differ from the reference, unless the name says which. What the processor lacks runs in f32."""


@dataclass(frozen=True, slots=True)
class Row:
    """One variant on one set, or on all."""

    variant: str
    set: str
    pages: int
    lines: int
    """Lines that the reference reads."""
    identical: float
    """Share of them that the variant reads on the same page to the letter."""
    cer: Interval | None
    """None where the pages have no ground truth."""
    cer_increase: Interval | None
    """CER of the variant minus that of the reference, paired bootstrap."""


def split(pages: Sequence[PageRef], per_set: int) -> tuple[list[int], list[int]]:
    """Indices of the pages to read, spread over each set, and of those to calibrate on, spread over the others.

    Raises UserError where nothing is left for calibration.
    """
    read: list[int] = []
    for name in dict.fromkeys(page.set for page in pages):
        read += _spread([index for index, page in enumerate(pages) if page.set == name], per_set)
    rest = [index for index in range(len(pages)) if index not in set(read)]
    if not rest:
        raise UserError(
            "every page is read, and none is left to calibrate int8 on: give more pages or a smaller --pages"
        )
    return read, _spread(rest, CALIBRATION_PAGES)


def _spread(indices: Sequence[int], count: int) -> list[int]:
    count = min(count, len(indices))
    return [indices[i * len(indices) // count] for i in range(count)]


def identical_lines(reference: Iterable[PageRecord], other: Iterable[PageRecord]) -> tuple[int, int]:
    """How many lines of the reference the other side has on the same page, and how many there are."""
    found = {page.page_id: Counter(line.text for line in page.lines) for page in other}
    same = lines = 0
    for page in reference:
        texts = Counter(line.text for line in page.lines)
        same += (texts & found[page.page_id]).total()
        lines += texts.total()
    return same, lines


def rows(bench: Bench, name: str, reference: Measurement, other: Measurement) -> list[Row]:
    """A variant beside the reference, which read the same pages: each set, then all where there are several."""
    names = list(dict.fromkeys(page.set for page in bench.references))
    sets = {page.page_id: page.set for page in bench.references}
    found = []
    for group in [[name] for name in names] + ([names] if len(names) > 1 else []):
        sides = [[page for page in side.pages if sets[page.page_id] in group] for side in (reference, other)]
        same, lines = identical_lines(*sides)
        scores: list[list[PageScore]] = [bench.score(side) for side in sides]
        scored = any(score.has_reference for score in scores[0])
        found.append(
            Row(
                variant=name,
                set=group[0] if len(group) == 1 else ALL,
                pages=len(sides[0]),
                lines=lines,
                identical=same / lines if lines else 1.0,
                cer=cer_interval(scores[1]) if scored else None,
                cer_increase=cer_increase(*scores) if scored else None,
            )
        )
    return found


def markdown(found: Sequence[Row], failures: Mapping[str, str]) -> str:
    """One table a set, the one over all sets first."""
    names = list(dict.fromkeys(row.set for row in found))
    parts = []
    for name in sorted(names, key=lambda name: name != ALL):
        part = [row for row in found if row.set == name]
        parts.append(
            f"### {name}: {part[0].pages} pages, {part[0].lines} lines\n\n"
            "| runtime and precision | identical lines | CER | CER less that of the first row (95 % interval) |\n"
            "|---|---|---|---|\n" + "\n".join(_line(row) for row in part)
        )
    if failures:
        parts.append("\n".join(f"- {name} could not run: {reason}" for name, reason in failures.items()))
    return "\n\n".join(parts) + "\n"


def _line(row: Row) -> str:
    cer = f"{100 * row.cer.value:.2f} %" if row.cer else "no ground truth"
    increase = ""
    if row.cer_increase and row.variant != REFERENCE:
        value, low, high = (
            100 * bound for bound in (row.cer_increase.value, row.cer_increase.low, row.cer_increase.high)
        )
        increase = f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"
    return f"| {row.variant} | {100 * row.identical:.1f} % | {cer} | {increase} |"


def variants(machine: Machine, model: str, calibration: Settings) -> dict[str, Variant]:
    """Every row of VARIANTS with that model tier, line by line and one replica a core."""
    space = Space.of("ppocr", "cpu", machine)
    shared: dict[str, Setting] = {
        **_both(model=model, threads=1, arena=True, mem_pattern=False, shape_cache=1000),
        **calibration,
        "replicas": machine.cores,
        "use_cls": False,
        "det_limit_type": "max",
        "det_side": 1120,
        "rec_batch": 1,
        "rec_min_width": 32,
        "rec_width_bucket": 32,
    }
    return {name: space.suggested({**shared, **settings}) for name, settings in VARIANTS.items()}


def read(bench: Bench, folder: RunFolder, number: int, variant: Variant) -> Measurement | Failure:
    """What the variant reads on all pages, from the folder where it was read before.

    Side effect: what is read now is kept there.
    """
    ids = [page.id for page in bench.pages]
    for trial in folder.trials():
        known = trial.outcome
        if (
            trial.variant == variant
            and isinstance(known, Measurement)
            and [p.page_id for p in known.pages] == ids
        ):
            return known
    began = time.perf_counter()
    limits = Limits(SLOWEST_PAGE_S * (1 + len(ids)))
    outcome, _ = measure(bench, variant, [range(len(ids))], limits)
    spent_s = time.perf_counter() - began
    folder.save_trial(TrialResult(number, variant, "search", 0.0, spent_s, outcome))
    return outcome


def table(
    loaded: LoadedData, per_set: int, model: str, out: RunFolder, console: Console
) -> tuple[list[Row], dict[str, str]]:
    """The rows of every variant that can run here, and why the others cannot. Raises UserError."""
    machine = detect()
    chosen, others = split(loaded.pages, per_set)
    sample = (Page(loaded.pages[index].id, decode(loaded.pages[index])) for index in others)
    calibration: Settings = registry.load("ppocr").calibrate(sample)  # type: ignore[attr-defined]
    found: list[Row] = []
    failures: dict[str, str] = {}
    reference: Measurement | None = None
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch:
        bench = Bench(
            tuple(loaded.pages[index] for index in chosen),
            tuple(loaded.references[index] for index in chosen),
            Path(scratch),
            machine,
        )
        for number, (name, variant) in enumerate(variants(machine, model, calibration).items()):
            console.print(f"{name} ...")
            outcome = read(bench, out, number, variant)
            if isinstance(outcome, Failure):
                if reference is None:
                    raise UserError(
                        f"{name} cannot run here, so there is nothing to compare with: {outcome.message}"
                    )
                failures[name] = outcome.message
                continue
            reference = reference or outcome
            found += rows(bench, name, reference, outcome)
    return found, failures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", action="append", help="data set or path; default: the real pages, else generated"
    )
    parser.add_argument("--pages", type=int, default=4, help="most pages of each set")
    parser.add_argument("--model", default="v6_small", help="tier of both models; PyTorch has v6_small only")
    parser.add_argument("--out", type=Path, default=Path("build/numerics"))
    arguments = parser.parse_args()
    console = Console(stderr=True, highlight=False)
    real = sorted(str(folder) for folder in REAL.iterdir() if folder.is_dir()) if REAL.is_dir() else []
    loaded = load_data(arguments.data or real, None, console)
    out = RunFolder.create(arguments.out)
    found, failures = table(loaded, arguments.pages, arguments.model, out, console)
    text = markdown(found, failures)
    document = {
        "model": arguments.model,
        "cpu_model": detect().cpu_model,
        "versions": versions_of(registry.load("ppocr")),
        "rows": [asdict(row) for row in found],
        "failures": failures,
    }
    write_atomic(out.root / "numerics.json", json.dumps(document, indent=2))
    write_atomic(out.root / "numerics.md", text)
    print(text, end="")


if __name__ == "__main__":
    main()
