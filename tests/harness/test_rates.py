"""The highest rate of the scripted engine, whose time for a page is known."""

from pathlib import Path

import pytest

from harness.machine import detect
from harness.measure import Bench, Limits, measure
from harness.objectives import LATENCY, THROUGHPUT, Objective, server
from harness.rates import HighestRate, find_highest_rate
from harness.space import Space
from harness.values import Failure, FailureKind, Measurement
from tests.pages import page_set

MACHINE = detect()


def bench(folder: Path, objective: Objective = THROUGHPUT) -> Bench:
    pages, references = page_set(folder / "pages", 4)
    return Bench(pages, references, folder / "work", MACHINE, objective=objective)


def test_a_loose_bound_is_met_at_capacity_and_an_impossible_one_never(scripted: str, tmp_path: Path) -> None:
    run = bench(tmp_path)
    variant = Space.of("scripted", "cpu", MACHINE).variant({"page_ms": 20})
    loose = find_highest_rate(run, variant, bound_ms=60_000, requests=8, deadline_s=60)
    assert isinstance(loose, HighestRate)
    assert loose.rate == loose.capacity <= 1 / 0.02
    assert len(loose.measurement.pages) == 8
    tight = find_highest_rate(run, variant, bound_ms=19, requests=8, deadline_s=60)
    assert isinstance(tight, HighestRate)
    assert tight.rate is None
    assert all(tried.late > 0 and tried.requests < 8 for tried in tight.tried)  # given up at the first


def test_a_failure_is_handed_on(scripted: str, tmp_path: Path) -> None:
    variant = Space.of("scripted", "cpu", MACHINE).variant({"fault": "segfault"})
    found = find_highest_rate(bench(tmp_path), variant, bound_ms=1, requests=4, deadline_s=60)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.CRASH


@pytest.mark.parametrize("objective", [LATENCY, server(20.0)])
def test_a_measurement_follows_its_scenario(scripted: str, tmp_path: Path, objective: Objective) -> None:
    variant = Space.of("scripted", "cpu", MACHINE).variant({"page_ms": 5, "pages_per_call": 4})
    outcome, _ = measure(bench(tmp_path, objective), variant, [[0, 1, 2, 3]], Limits(60))
    assert isinstance(outcome, Measurement)
    assert [page.page_id for page in outcome.pages] == [f"set/p{i:03d}" for i in range(4)]
    began_s = [page.done_s - page.seconds for page in outcome.pages]
    assert began_s == sorted(began_s)
    assert began_s[-1] > 0.01  # offline, all four are read in one call and begin together
