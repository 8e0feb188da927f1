"""The planted faults that the gate is tested with: they do what they say, and on real pages the gate sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from engines import registry
from engines.interface import Line, Page, PageText, Settings
from harness import measure
from harness.check.verdicts import Outcome, Tolerances, findings
from harness.data import load
from harness.machine import detect
from harness.measure import Bench
from harness.space import Space
from harness.values import ReferencePage, Round
from tests.canary import canary_engine, nights
from tests.engines.support import drawn

CANARY = Path(nights.__file__).parent
RECEIPTS = Path(__file__).parents[4] / "shared" / "data" / "sroie_receipts"
TEXT = PageText(tuple(Line(f"line {i} of this page holds forty characters", None, 1.0) for i in range(200)))
PAGES = [drawn(f"p{i}", size=(8, 8)) for i in range(50)]


class Recited:
    """A reader that knows its pages by heart."""

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        return [TEXT] * len(pages)


def read(**planted: float) -> list[PageText]:
    settings: Settings = {"drop_lines_pct": 0.0, "swap_characters_pct": 0.0, "fault_seed": 0, **planted}
    return list(canary_engine._Canary(Recited(), settings).read(PAGES))


def test_two_per_cent_of_lines_are_dropped_and_the_others_are_left_alone() -> None:
    faulty = read(drop_lines_pct=2.0)
    assert sum(len(page.lines) for page in faulty) == pytest.approx(0.98 * 200 * 50, rel=0.005)
    assert all(line in TEXT.lines for page in faulty for line in page.lines)


def test_half_a_per_cent_of_characters_are_swapped_and_none_is_lost() -> None:
    pairs = [
        (t, f) for page in read(swap_characters_pct=0.5) for t, f in zip(TEXT.text, page.text, strict=True)
    ]
    assert sum(t != f for t, f in pairs) / len(pairs) == pytest.approx(0.005, rel=0.1)


def test_faults_are_the_same_wherever_a_page_is_read_and_others_with_another_seed() -> None:
    faulty = read(drop_lines_pct=2.0, swap_characters_pct=0.5)
    assert faulty == read(drop_lines_pct=2.0, swap_characters_pct=0.5)
    assert faulty != read(drop_lines_pct=2.0, swap_characters_pct=0.5, fault_seed=1)
    assert read() == [TEXT] * len(PAGES)


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(CANARY)
    monkeypatch.setenv("PYTHONPATH", str(CANARY))
    registry.modules.cache_clear()
    yield
    registry.modules.cache_clear()


@pytest.mark.usefixtures("canary")
def test_the_gate_sees_on_real_receipts_what_was_planted_and_nothing_else(tmp_path: Path) -> None:
    if not RECEIPTS.is_dir():
        pytest.skip(f"there are no real pages at {RECEIPTS}")
    (data,) = load([str(RECEIPTS)])
    machine = detect()
    pinned = yaml.safe_load((CANARY / "pinned.yaml").read_text())["settings"]
    space = Space.of("canary", "cpu", machine)
    variants = [
        space.variant({**pinned, "replicas": 1, **planted})
        for planted in ({}, {}, {"drop_lines_pct": 2.0}, {"swap_characters_pct": 0.5})
    ]
    references = tuple(
        ReferencePage(p.id, p.set, p.document, p.text or "", p.profile, p.path, 0, p.language)
        for p in data.pages
    )
    bench = Bench(data.pages, references, tmp_path, machine)
    result = measure.interleaved_round(bench, variants, list(range(len(data.pages))), 0)
    unchanged, dropped, swapped = (judged(bench, result, side) for side in (1, 2, 3))
    assert {unchanged[name] for name in ("cer", "wer", "characters_per_page", "lines_per_page")} == {
        Outcome.PASS
    }
    assert dropped["cer"] is Outcome.REGRESSION
    assert dropped["lines_per_page"] is Outcome.REGRESSION
    assert swapped["cer"] is Outcome.REGRESSION
    assert swapped["lines_per_page"] is Outcome.PASS


def judged(bench: Bench, result: Round, side: int) -> dict[str, Outcome]:
    both = replace(
        result,
        blocks=(result.blocks[0], result.blocks[side]),
        cold_start_s=(1.0, 1.0),
        log_ratios=(0.0,),
        peak_rss_mib=(),
    )
    scores = [bench.score([page for block in blocks for page in block.pages]) for blocks in both.blocks]
    return {f.name: f.outcome for f in findings([both], scores[0], scores[1], (0, 0), Tolerances())}


def night(fault: str, verdict: str) -> nights.Night:
    return nights.Night(fault, 0, verdict, 100.0, 8, 23, {})


def test_a_wrong_night_or_two_doubtful_ones_of_a_kind_condemn_the_gate() -> None:
    right = [night(fault, "regression" if planted else "pass") for fault, planted in nights.FAULTS.items()]
    assert nights.is_sound([*right, night("unchanged", "inconclusive")])
    assert not nights.is_sound([*right, night("unchanged", "regression")])
    assert not nights.is_sound([*right, night("slowed by 8 %", "pass")])
    assert not nights.is_sound([*right, *[night("unchanged", "inconclusive")] * 2])
    assert "1" in next(row for row in nights.table(right) if row.startswith("slowed"))
