"""Trying every knob, with an engine whose settings do what they say."""

import re
from pathlib import Path

import pytest

from engines.interface import Choice, Knob, Machine, Ordered, Setting
from harness import pipeline
from harness.acting import untriable
from harness.liveness import Effect, Life, Liveness
from harness.machine import detect
from harness.measure import Bench
from harness.probing import alternatives, probe, with_condition
from harness.space import Space
from tests.pages import page_set

MACHINE = detect()
IDLE = {"jpeg_side", "pdf_side", "use_text_layer"}
ALL = {knob.name for knob in pipeline.knobs(MACHINE)} | {"fault", "page_ms", "garbled_pct", "boost"}


def probed(folder: Path, budget_s: float, **settings: Setting) -> dict[str, Liveness]:
    pages, references = page_set(folder / "pages", 6)
    bench = Bench(pages, references, folder / "work", MACHINE)
    space = Space.of("scripted", "cpu", MACHINE)
    idle = untriable(space, pages)
    base = space.variant(settings)
    return {life.knob: life for life in probe(bench, space, base, budget_s=budget_s, idle=idle)}


def test_each_knob_is_known_by_what_it_does(scripted: str, tmp_path: Path) -> None:
    found = probed(tmp_path, 600, page_ms=20)
    assert set(found) == ALL
    assert Effect.TIME in found["page_ms"].effects
    assert Effect.TEXT in found["garbled_pct"].effects
    assert found["garbled_pct"].steps[-1].pages_changed == 5
    assert found["fault"].life is Life.FAILED
    assert found["fault"].steps[0].failure == (
        "unsupported: this setting needs hardware that is not here; choose fault=none"
    )
    # What cannot act on pictures that are no JPEG is not tried.
    assert (found["jpeg_side"].life, found["jpeg_side"].untested) == (
        Life.UNTESTED,
        "no JPEG page is large enough",
    )
    assert Effect.TEXT in found["grey"].effects
    # It acts with slow pages only: both sides get them.
    assert found["boost"].condition == {"page_ms": 40}
    assert found["boost"].effects[0] is Effect.TIME
    speedup = found["boost"].steps[0].speedup
    assert speedup is not None
    assert 1.4 < speedup.value < 2.6


def test_a_short_budget_tells_by_one_page_what_changes_the_text(scripted: str, tmp_path: Path) -> None:
    found = probed(tmp_path, 20, page_ms=500)
    for name in ("garbled_pct", "grey"):
        assert found[name].effects == (Effect.TEXT,)
        assert [(step.pages_changed, step.speedup) for step in found[name].steps] == [(1, None)]
    assert found["page_ms"].life is Life.UNTESTED
    assert "it takes about" in found["page_ms"].untested


def test_what_the_budget_did_not_reach_is_said_to_be_untested(scripted: str, tmp_path: Path) -> None:
    found = probed(tmp_path, 0.2, page_ms=20)
    assert set(found) == ALL
    acting = [life for life in found.values() if life.knob not in IDLE]
    assert {life.life for life in acting} == {Life.UNTESTED}
    # What is left of the budget once the base has started depends on the machine.
    late = re.compile(
        r"the budget ended before it was judged|it takes about \d+ s and \d+ s were left for it"
    )
    assert all(life.untested and late.fullmatch(life.untested) for life in acting)


@pytest.mark.parametrize(
    ("knob", "base", "values"),
    [
        (Knob("k", "detect", Choice((False, True)), True, ""), True, (False,)),
        (Knob("k", "detect", Choice(("a", "b", "c", "d")), "b", ""), "b", ("a", "c")),
        (Knob("k", "detect", Ordered((1, 2, 4, 8)), 2, ""), 2, (8, 1)),
        (Knob("k", "detect", Ordered((1, 2, 4, 8)), 8, ""), 8, (4, 1)),
        (Knob("k", "pipeline", Ordered((1, 2, 4, 8)), 1, ""), 1, (2, 4)),
        (Knob("k", "detect", Choice((False, True)), False, ""), 0, (False, True)),
    ],
)
def test_the_values_tried_are_those_that_would_show_it(
    knob: Knob, base: Setting, values: tuple[Setting, ...]
) -> None:
    found = alternatives(knob, base)
    assert [repr(value) for value in found] == [repr(value) for value in values]


def test_what_a_knob_needs_is_switched_on_through_every_condition() -> None:
    switch = Choice((False, True))
    space = Space(
        "x",
        "cpu",
        (
            Knob("runtime", "detect", Choice(("plain", "fast")), "plain", ""),
            Knob("cache", "detect", switch, False, "", {"runtime": ("fast",)}),
            Knob("evict", "detect", switch, False, "", {"cache": (True,)}),
            Knob("never", "detect", switch, False, "", {"missing": (True,)}),
        ),
    )
    base = space.variant({})
    evict, never = space.by_name["evict"], space.by_name["never"]
    found = with_condition(space, base, evict)
    assert found is not None
    assert dict(found.settings) == {"runtime": "fast", "cache": True, "evict": False}
    assert with_condition(space, base, never) is None
    assert with_condition(space, base, space.by_name["runtime"]) == base


@pytest.mark.parametrize("engine", ["ppocr", "rapidocr"])
def test_every_knob_of_an_engine_can_be_switched_on(engine: str) -> None:
    machine = detect()
    two_cores = Machine(machine.cpu_model, max(2, machine.cores), machine.memory_mib)
    space = Space.of(engine, "cpu", two_cores)
    for knob in space.knobs:
        assert with_condition(space, space.variant({}), knob) is not None, knob.name
