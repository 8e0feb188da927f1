from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from engines.interface import Line, Machine
from harness import pipeline
from harness.phases.ladder import Probe
from harness.phases.probes import PROBES, Facts, found
from harness.space import Space
from harness.values import Block, CounterSample, Measurement, PageRecord
from tests.pages import page_set, write_page

MACHINE = Machine("test", cores=2, memory_mib=8192, cpu_flags=frozenset({"avx2", "avx512_vnni", "sse"}))


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    pages, references = page_set(tmp_path, 4)
    read = tuple(
        PageRecord(page.id, (Line("text"),), 0.5, {"decode": 0.1, "detect": 0.1, "recognise": 0.3})
        for page in pages
    )
    samples = (
        CounterSample(0.1, {"rss_mib": 100.0, "cpu_pct": 90.0}),
        CounterSample(0.2, {"rss_mib": 300.0}),
    )
    measured = Measurement(2.0, (Block(read, 2.0),), samples, {"watts": "not readable"})
    return Facts(MACHINE, pages, pages, references, Space("x", "cpu", pipeline.knobs(MACHINE)), measured)


def test_every_probe_that_a_ladder_may_name_ends_in_a_sentence(facts: Facts) -> None:
    assert set(PROBES) == set(get_args(Probe))
    for probe in PROBES:
        assert found(probe, facts).endswith(".")


def test_counters_and_stages_are_those_of_the_baseline(facts: Facts) -> None:
    assert "2 counters were read 2 times" in found("counters", facts)
    assert "and 1 cannot be read" in found("counters", facts)
    assert "60 % in recognise and 20 % in" in found("stages", facts)


def test_a_page_that_is_there_twice_is_noticed(facts: Facts) -> None:
    assert "None of these 4 pages" in found("repeated_pages", facts)
    twice = replace(facts.pages[0], id="again")
    assert "1 of these 5 pages repeat" in found(
        "repeated_pages", replace(facts, every_page=(*facts.pages, twice))
    )


def test_pages_that_look_alike_with_other_texts_are_counted(facts: Facts, tmp_path: Path) -> None:
    path = write_page(tmp_path / "other", "p", facts.references[0].text)
    copy = replace(facts.pages[0], id="copy", path=str(path))
    other = replace(facts.references[0], page_id="copy", text="another text")
    alike = replace(facts, pages=(facts.pages[0], copy), references=(facts.references[0], other))
    assert "Of the 1 pairs of pages here 1 look alike, and 1 of these have different texts" in found(
        "look_alikes", alike
    )


def test_the_grid_is_counted_within_what_knobs_admit(facts: Facts) -> None:
    # pages_per_call takes 1 to 64, so all six; replicas 1 and 2 of two cores.
    assert "has 12 variants here" in found("grid", facts)


def test_retreats_of_the_baseline_are_told(facts: Facts) -> None:
    assert "ran out of memory" in found("retreats", facts)
    assert "300 MiB of 8192 MiB" in found("retreats", facts)
    first, *rest = facts.measured.pages
    block = Block((replace(first, retreats=2), *rest), 2.0)
    assert "halved 2 times" in found(
        "retreats", replace(facts, measured=replace(facts.measured, blocks=(block,)))
    )


def test_kernels_are_those_of_the_processor(facts: Facts) -> None:
    assert "has avx2, avx512_vnni, and x has no setting" in found("kernels", facts)
