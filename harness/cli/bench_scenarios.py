"""What `tune bench` measures in each scenario, and how it says so."""

import random
from dataclasses import dataclass, replace
from typing import Any

from harness import objectives
from harness.errors import UserError
from harness.measure import Bench, Limits, measure
from harness.rates import HighestRate, find_highest_rate
from harness.scenarios import Traffic
from harness.stats import percentile_pages
from harness.values import Failure, Measurement, Variant

_WARMUP_PAGES = 2
_OBJECTIVES = {Traffic.OFFLINE: objectives.THROUGHPUT, Traffic.SINGLE: objectives.LATENCY}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The scenario as the user asked for it."""

    traffic: Traffic
    rate: float | None
    max_p99_ms: float | None
    requests: int | None

    def __post_init__(self) -> None:
        if self.traffic is Traffic.SERVER:
            if (self.rate is None) == (self.max_p99_ms is None):
                raise UserError(
                    "--scenario server needs the pages a second that arrive, such as --rate 2.5, or else the bound "
                    "that the highest rate must meet, such as --max-p99-ms 2000"
                )
        elif self.rate is not None or self.max_p99_ms is not None:
            raise UserError("--rate and --max-p99-ms belong to --scenario server")
        if self.traffic is Traffic.OFFLINE and self.requests is not None:
            raise UserError(
                "--requests belongs to --scenario single or server; offline reads every page once"
            )
        for name, value in (("--rate", self.rate), ("--max-p99-ms", self.max_p99_ms)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{name} must be a number above 0, not {value:g}")
        if self.requests is not None and self.requests < 1:
            raise UserError(f"--requests must be at least 1, not {self.requests}")


def run(
    bench: Bench, variant: Variant, wanted: Wanted, timeout_s: float
) -> tuple[Measurement | Failure, Any]:
    """Measure, and describe the scenario as `--json` has it (None for a failure)."""
    if wanted.traffic is Traffic.SERVER and wanted.rate is None and wanted.max_p99_ms is not None:
        found = find_highest_rate(
            bench,
            variant,
            bound_ms=wanted.max_p99_ms,
            requests=wanted.requests or percentile_pages(99),
            deadline_s=timeout_s,
            warmup=_WARMUP_PAGES,
        )
        return (found, None) if isinstance(found, Failure) else (found.measurement, _described(found))
    outcome, _ = measure(
        replace(bench, objective=_OBJECTIVES.get(wanted.traffic) or objectives.server(wanted.rate or 0.0)),
        variant,
        [_order(bench, wanted)],
        Limits(timeout_s, page_s=timeout_s),
        warmup=_WARMUP_PAGES,
    )
    return outcome, {"traffic": wanted.traffic, "rate": wanted.rate}


def _order(bench: Bench, wanted: Wanted) -> list[int]:
    """Shuffled decks of all pages, as many as there are requests."""
    pages = len(bench.pages)
    default = percentile_pages(99) if wanted.traffic is Traffic.SERVER else pages
    draw = random.Random(bench.seed)
    order: list[int] = []
    while len(order) < (wanted.requests or default):
        order += draw.sample(range(pages), pages)
    return order[: wanted.requests or default]


def _described(found: HighestRate) -> dict[str, Any]:
    return {
        "traffic": Traffic.SERVER,
        "rate": found.rate,
        "max_p99_ms": found.bound_ms,
        "capacity": found.capacity,
        "tried": [
            {"rate": tried.rate, "requests": tried.requests, "late": tried.late, "met": tried.met}
            for tried in found.tried
        ],
    }


def sentence(scenario: dict[str, Any]) -> str:
    """The scenario for people."""
    match scenario:
        case {"traffic": Traffic.OFFLINE}:
            return "offline: all pages at once"
        case {"traffic": Traffic.SINGLE}:
            return "single stream: one page at a time"
        case {"max_p99_ms": bound, "rate": None, "capacity": capacity}:
            return f"server: no rate met p99 within {bound:g} ms (offline {capacity:.3f} pages/s)"
        case {"max_p99_ms": bound, "rate": rate, "capacity": capacity}:
            return f"server: up to {rate:.3f} pages/s within {bound:g} ms at p99 (offline {capacity:.3f} pages/s)"
        case {"rate": rate}:
            return f"server: {rate:g} pages/s arrive at random, latency from arrival"
        case _:
            raise ValueError(f"not a scenario: {scenario}")
