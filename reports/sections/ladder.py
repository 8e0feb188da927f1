"""The parts of the page of a phase ladder."""

import math
from collections.abc import Callable, Sequence

from harness.phases.values import LadderResult, Quantity, RungResult, RungVerdict
from reports.blocks import Answer, Block, Chart, Figure, Mark, Prose, Row, Table, long, num, text
from reports.charts import waterfall
from reports.sections.phrases import ratio_range, value
from reports.words import DASH, count, duration, factor, number, points, points_range

_UNMEASURED = (RungVerdict.FAILED, RungVerdict.NOT_APPLICABLE)


def answer(ladder: LadderResult, _name: str) -> Sequence[Block]:
    """How many claims hold here, and how high the ladder reaches without harm to accuracy."""
    verdicts = [rung.verdict for rung in ladder.rungs]
    holds = verdicts.count(RungVerdict.HOLDS)
    measured = sum(rung.gain is not None and rung.verdict not in _UNMEASURED for rung in ladder.rungs)
    best = max(
        (r for r in _by_throughput(ladder) if r.is_harmless and r.total and r.total.speedup.low > 0),
        key=lambda rung: rung.total.speedup.low if rung.total else 0.0,
        default=None,
    )
    figures = [Figure(kind.value, str(verdicts.count(kind))) for kind in RungVerdict if kind in verdicts]
    sentence = "No rung has an interval yet: give a longer budget."
    if best and best.total:
        sentence = (
            f"The highest rung is {best.id}: {factor(best.total.speedup.value)} the throughput of the baseline "
            f"({ratio_range(best.total.speedup)}), CER {points(best.total.cer_increase.value)} points."
        )
    blocks: list[Block] = [
        Answer(
            "good" if holds else "neutral",
            f"{holds} of {count(measured, 'measured rung')} hold",
            sentence,
            figures,
        )
    ]
    if ladder.undone:
        blocks.append(
            Prose(f"The run was interrupted: it was not through with {count(ladder.undone, 'rung')}.")
        )
    return blocks


def chart(ladder: LadderResult, name: str) -> Sequence[Block]:
    """The waterfall of the rungs that have an interval."""
    shown = [rung for rung in _by_throughput(ladder) if rung.gain and math.isfinite(rung.gain.speedup.high)]
    if not shown:
        return []
    bars = [
        (rung.id, rung.gain.speedup.value, rung.gain.speedup.low, rung.gain.speedup.high)
        for rung in shown
        if rung.gain
    ]
    says = "Gain in throughput of each rung over the previous one, with its interval, and what was claimed."
    return [Chart(waterfall(bars, [rung.claimed for rung in shown], f"{name}-waterfall", says), says)]


def _by_throughput(ladder: LadderResult) -> list[RungResult]:
    """The rungs that are about pages a second, which alone can be set beside each other."""
    return [rung for rung in ladder.rungs if rung.quantity is Quantity.THROUGHPUT]


def rungs(ladder: LadderResult, _name: str) -> Sequence[Block]:
    """Every rung, claimed beside measured."""
    columns = [
        *(text("rung"), text("technique"), text("engine"), text("verdict"), text("claimed")),
        *(text("gain"), text("against baseline"), text("CER, points")),
        long("what was set, or why not measured"),
    ]
    return [
        Table("Each rung against the one that it stands on.", columns, [_row(rung) for rung in ladder.rungs])
    ]


def _row(rung: RungResult) -> Row:
    gain, total = rung.gain, rung.total
    why = rung.reason
    if gain and rung.variant:
        changes = [
            f"{knob}={value(setting)}"
            for knob, setting in rung.variant.settings.items()
            if gain.a.settings.get(knob) != setting
        ]
        of = "" if rung.quantity is Quantity.THROUGHPUT else f"Of the {rung.quantity}: "
        pages = count(gain.pages, "page")
        why = f"{of}{', '.join(changes) or 'as it is'} (on {rung.previous}), {pages}. {why}".strip()
    measured = (
        f"{factor(gain.speedup.value)} ({ratio_range(gain.speedup)})" if gain else DASH,
        f"{factor(total.speedup.value)} ({ratio_range(total.speedup)})" if total else DASH,
        f"{points(gain.cer_increase.value)} ({points_range(gain.cer_increase)})" if gain else DASH,
    )
    head = (rung.id, rung.technique, rung.variant.engine if rung.variant else DASH)
    mark: Mark = (
        "failed" if rung.verdict in _UNMEASURED else "best" if rung.verdict is RungVerdict.HOLDS else ""
    )
    return Row((*head, rung.verdict_text, rung.claim or DASH, *measured, why), mark)


def machine(ladder: LadderResult, _name: str) -> Sequence[Block]:
    """Stages and counters of each rung alone, and on what it was measured."""
    measured = [rung for rung in ladder.rungs if rung.stage_ms]
    stages = list(dict.fromkeys(name for rung in measured for name in rung.stage_ms))
    counters = ("cpu_pct", "rss_mib", "gpu0_util_pct")
    known = [name for name in counters if any(name in rung.counters for rung in measured)]
    rows = [
        Row(
            (
                rung.id,
                number(rung.cold_start_s, 2),
                *(number(rung.stage_ms.get(name)) for name in stages),
                *(number(rung.counters.get(name)) for name in known),
            )
        )
        for rung in measured
    ]
    columns = [text("rung"), num("cold start, s"), *(num(f"{name}, ms") for name in stages), *map(num, known)]
    table = [Table("Each rung alone: means over its pages and samples.", columns, rows)] if rows else []
    versions = ", ".join(f"{name} {version}" for name, version in ladder.versions.items())
    facts = (
        f"{ladder.machine}. {count(len(ladder.pages), 'page')} of {', '.join(ladder.data)}. "
        f"{duration(ladder.spent_s)} of {duration(ladder.budget_s)}. {versions}."
    )
    return [*table, Prose(facts), *([Prose(ladder.about)] if ladder.about else [])]


LADDER_PARTS: tuple[tuple[str, str, str, Callable[[LadderResult, str], Sequence[Block]]], ...] = (
    ("answer", "The answer", "", answer),
    ("waterfall", "The ladder", "", chart),
    ("rungs", "Claimed beside measured", "", rungs),
    ("stages", "Stages, counters and machine", "", machine),
)
