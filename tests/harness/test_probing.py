"""Trying every knob, with an engine whose settings do what they say."""

from pathlib import Path

from engines.interface import Setting
from harness import pipeline
from harness.liveness import Effect, Life, Liveness
from harness.machine import detect
from harness.measure import Bench
from harness.probing import probe
from harness.space import Space
from tests.pages import page_set

MACHINE = detect()
ALL = {knob.name for knob in pipeline.knobs(MACHINE)} | {"fault", "page_ms", "garbled_pct", "boost"}


def probed(folder: Path, budget_s: float, **settings: Setting) -> dict[str, Liveness]:
    pages, references = page_set(folder / "pages", 6)
    bench = Bench(pages, references, folder / "work", MACHINE)
    space = Space.of("scripted", "cpu", MACHINE)
    return {life.knob: life for life in probe(bench, space, space.variant(settings), budget_s=budget_s)}


def test_each_knob_is_known_by_what_it_does(scripted: str, tmp_path: Path) -> None:
    found = probed(tmp_path, 120, page_ms=20)
    assert set(found) == ALL
    assert Effect.TIME in found["page_ms"].effects
    assert Effect.TEXT in found["garbled_pct"].effects
    assert found["garbled_pct"].steps[-1].pages_changed == 5
    assert found["fault"].life is Life.FAILED
    assert found["fault"].steps[0].failure == (
        "unsupported: this setting needs hardware that is not here; choose fault=none"
    )
    # It acts with slow pages only: both sides get them.
    assert found["boost"].condition == {"page_ms": 40}
    assert found["boost"].effects[0] is Effect.TIME
    speedup = found["boost"].steps[0].speedup
    assert speedup is not None
    assert 1.4 < speedup.value < 2.6


def test_what_the_budget_did_not_reach_is_said_to_be_untested(scripted: str, tmp_path: Path) -> None:
    found = probed(tmp_path, 0.2, page_ms=20)
    assert set(found) == ALL
    assert {(life.life, life.untested) for life in found.values()} == {(Life.UNTESTED, "budget")}
