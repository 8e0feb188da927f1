"""Studies as the tool makes them, without an engine: seeded, so that equal arguments give equal values."""

import math
import random
from collections.abc import Mapping, Sequence

from engines.interface import Line, Machine, Setting
from harness.accuracy.bootstrap import cer_increase, cer_interval
from harness.accuracy.scores import score_page
from harness.values import (
    Block,
    Comparison,
    Constraints,
    CounterSample,
    DataSummary,
    Failure,
    FailureKind,
    Interval,
    Measurement,
    PageRecord,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
    Verdict,
    with_settings,
)

SETS = {"letters": "MIT", "receipts": "CC-BY-4.0", "oldbooks": "public domain"}
DEFAULTS: Mapping[str, Setting] = {
    "det_model": "v5-mobile",
    "det_runtime": "onnxruntime",
    "det_side": 960,
    "rec_model": "v5-mobile",
    "rec_runtime": "onnxruntime",
    "rec_batch": 6,
    "rec_precision": "f32",
    "classifier": True,
    "replicas": 1,
    "threads": 2,
    "prefetch": 2,
}
FAST: Mapping[str, Setting] = {
    "det_runtime": "openvino",
    "rec_runtime": "openvino",
    "det_side": 736,
    "rec_batch": 16,
    "classifier": False,
    "replicas": 2,
    "threads": 1,
}
BASELINE = Variant("ppocr", "cpu", DEFAULTS)
BEST = with_settings(BASELINE, **FAST)
SECOND = with_settings(BEST, rec_batch=8)
MACHINE = Machine("Example CPU @ 2.50GHz", 2, 7_900, (), frozenset({"avx2"}), "linux", "6.1.0", "3.11.2")
_SENTENCE = (
    "the invoice of Monday has been paid in full and delivered to Mrs Ferguson with eleven crates of apples "
    "from Kent at 12.50 each while total amount due shall be 1,204.75 including tax before the end of quarter"
)
_WORDS = _SENTENCE.split()
_MISREAD = {"e": "c", "l": "1", "o": "0", "m": "rn", "i": "", "S": "5", ".": ","}
_STAGES = {
    "decode": 0.04,
    "preprocess": 0.02,
    "detect": 0.30,
    "crop": 0.03,
    "recognise": 0.57,
    "postprocess": 0.04,
}


def references(pages: int, *, text: str | None = None) -> tuple[ReferencePage, ...]:
    """Ground truth of `pages` pages, a few in each set; `text` replaces it on every page."""
    draw = random.Random(7)
    sets = list(SETS)
    return tuple(
        ReferencePage(
            page_id=f"page-{number:03d}",
            set=sets[number % len(sets)],
            document=f"document-{number // 2}",
            text=_text(draw) if text is None else text,
            profile="strict",
            path=f"data/page-{number:03d}.png",
            language="en",
        )
        for number in range(pages)
    )


def measurement(
    pages: Sequence[ReferencePage],
    *,
    page_s: float,
    error: float,
    seed: int,
    cores: float = 1.0,
    watched: bool = True,
) -> Measurement:
    """All pages in blocks of four at about `page_s` seconds a page, misreading `error` of the characters."""
    draw = random.Random(seed)  # equal seeds misread nested sets of characters
    records = [_record(page, page_s * draw.uniform(0.8, 1.2), error, draw) for page in pages]
    blocks = tuple(
        Block(tuple(records[at : at + 4]), sum(record.seconds for record in records[at : at + 4]))
        for at in range(0, len(records), 4)
    )
    wall_s = sum(block.wall_s for block in blocks)
    samples = tuple(
        CounterSample(
            round(at * 0.1, 1),
            {
                "cpu_pct": 100 * cores * draw.uniform(0.85, 1.0) if at > 15 else 60.0,
                "rss_mib": 900 * (1 - math.exp(-at / 20)) * cores + draw.uniform(0, 20),
                "read_mib_per_s": draw.uniform(2, 4),
            },
        )
        for at in range(int(wall_s * 10) + 20 if watched else 0)
    )
    return Measurement(2.4, blocks, samples, {"gpu0_util_pct": "no NVIDIA driver on this machine"})


def study(*, trials: int = 40, pages: int = 24, text: str | None = None) -> Study:
    """A finished run: baseline, search with failures and early drops, confirmation of two finalists."""
    draw = random.Random(11)
    every = references(pages + pages // 2, text=text)
    truth, unseen = every[:pages], every[pages:]
    outcomes = [_trial(0, BASELINE, 0.0, measurement(truth, page_s=2.9, error=0.021, seed=0, cores=1.3))]
    clock_s = outcomes[0].wall_s
    for number in range(1, trials):
        chosen = {trials * 2 // 3: BEST, trials * 2 // 3 - 1: SECOND}
        variant = chosen.get(number) or _random_variant(draw)
        outcomes.append(_search_trial(number, variant, truth, clock_s, draw))
        clock_s += outcomes[-1].wall_s
    finalists = (SECOND, BEST)
    sides = [measurement(unseen, page_s=2.8, error=0.023, seed=5, watched=False)]
    sides += [
        measurement(unseen, page_s=page_s, error=0.019, seed=5, watched=False) for page_s in (0.74, 0.67)
    ]
    for variant, outcome in zip((BASELINE, *finalists), sides, strict=True):
        outcomes.append(TrialResult(len(outcomes), variant, "confirm", clock_s, 150.0, outcome))
    comparisons = tuple(
        comparison(b, ratio, unseen, sides[0], side)
        for b, ratio, side in zip(finalists, (3.8, 4.2), sides[1:], strict=True)
    )
    return Study(
        id="20250301-101500-ppocr",
        created="2025-03-01T10:15:00+01:00",
        engine="ppocr",
        device="cpu",
        objective="throughput",
        budget_s=clock_s + 160.0,
        spent_s=clock_s + 150.0,
        seed=0,
        constraints=Constraints(),
        machine=MACHINE,
        fingerprint="9f2c1a7b",
        versions={"onnxruntime": "1.24.1", "openvino": "2026.1.0", "rapidocr": "3.10.0"},
        data=_data(every),
        references=every,
        trials=tuple(outcomes),
        comparisons=comparisons,
        best=BEST,
        cautions=("load was 3.1 on 2 cores while measuring: close other programs and run again",),
    )


def comparison(
    b: Variant, speedup: float, pages: Sequence[ReferencePage], a_read: Measurement, b_read: Measurement
) -> Comparison:
    """The baseline against `b` over seven rounds that gave `speedup`."""
    draw = random.Random(b.id)
    readable = any(page.text for page in pages)
    scores = [
        [score_page(page, r.lines) for page, r in zip(pages, m.pages, strict=True)] for m in (a_read, b_read)
    ]
    unknown = Interval(math.nan, math.nan, math.nan)
    return Comparison(
        a=BASELINE,
        b=b,
        log_ratios=tuple(math.log(speedup) + draw.gauss(0, 0.03) for _ in range(7)),
        speedup=Interval(speedup, speedup * 0.95, speedup * 1.05),
        verdict=Verdict.FASTER,
        cer_a=cer_interval(scores[0]) if readable else unknown,
        cer_b=cer_interval(scores[1]) if readable else unknown,
        cer_increase=cer_increase(*scores) if readable else unknown,
        pages=len(pages),
    )


def failure(kind: FailureKind, message: str = "") -> Failure:
    """A failure of each kind as the process boundary reports it."""
    known = {
        FailureKind.OOM: ("read", "killed by signal 9 at 7,800 MiB resident"),
        FailureKind.CRASH: ("open", "worker died with signal 11"),
        FailureKind.TIMEOUT: ("warm-up", "no page within 30 s"),
        FailureKind.UNSUPPORTED: ("open", "precision bf16 needs amx_bf16 or avx512_bf16"),
        FailureKind.INVALID_OUTPUT: ("read", "confidence is not a number on page-003"),
    }
    stage, usual = known[kind]
    tail = (
        "Traceback (most recent call last):",
        '  File "run.py", line 12, in main',
        f"RuntimeError: {usual}",
    )
    return Failure(kind, stage, message or usual, tail)


def _search_trial(
    number: int, variant: Variant, truth: Sequence[ReferencePage], clock_s: float, draw: random.Random
) -> TrialResult:
    if number % 7 == 3:
        kind = list(FailureKind)[number // 7 % len(FailureKind)]
        return TrialResult(number, variant, "search", clock_s, 4.0, failure(kind))
    final = variant in (BEST, SECOND)
    page_s = (0.69 if variant == BEST else 0.78) if final else draw.uniform(0.75, 3.5)
    error = 0.018 if final else draw.choice((0.017, 0.019, 0.021, 0.024, 0.04, 0.12))
    dropped = not final and number % 5 == 1
    pages = truth[:4] if dropped else truth
    outcome = measurement(pages, page_s=page_s, error=error, seed=100 + round(error * 1000), cores=1.9)
    note = f"dropped after {len(pages)} pages: slower than the best so far" if dropped else ""
    return _trial(number, variant, clock_s, outcome, note)


def _trial(
    number: int, variant: Variant, clock_s: float, outcome: Measurement, note: str = ""
) -> TrialResult:
    wall_s = outcome.cold_start_s + sum(block.wall_s for block in outcome.blocks)
    return TrialResult(number, variant, "search" if number else "baseline", clock_s, wall_s, outcome, note)


def _random_variant(draw: random.Random) -> Variant:
    return with_settings(
        BASELINE,
        det_runtime=draw.choice(("onnxruntime", "openvino")),
        rec_runtime=draw.choice(("onnxruntime", "openvino")),
        det_side=draw.choice((480, 736, 960, 1280)),
        rec_batch=draw.choice((1, 4, 6, 8, 16, 32)),
        rec_precision=draw.choice(("f32", "bf16")),
        prefetch=draw.choice((1, 2, 4)),
    )


def _record(page: ReferencePage, seconds: float, error: float, draw: random.Random) -> PageRecord:
    lines = tuple(Line(_misread(line, error, draw), None, 0.97) for line in page.text.splitlines())
    stage_s = {stage: seconds * share for stage, share in _STAGES.items()}
    return PageRecord(page.page_id, lines, seconds, stage_s)


def _misread(line: str, error: float, draw: random.Random) -> str:
    return "".join(_MISREAD.get(char, "#") if draw.random() < error else char for char in line)


def _text(draw: random.Random) -> str:
    return "\n".join(
        " ".join(draw.choices(_WORDS, k=draw.randint(5, 11))) for _ in range(draw.randint(6, 22))
    )


def _data(truth: Sequence[ReferencePage]) -> tuple[DataSummary, ...]:
    return tuple(
        DataSummary(
            name=name,
            sha256=f"{position}c4e" * 16,
            pages=sum(page.set == name for page in truth),
            profile="strict",
            licence=licence,
            skipped=(("scan-17.jpg", "truncated JPEG"),) if position == 1 else (),
        )
        for position, (name, licence) in enumerate(SETS.items())
    )
