"""Whether short blocks of pages tell what a long queue takes: both in the same processes, beside each other."""

import math
import random
from pathlib import Path
from statistics import fmean, stdev

import pytest

from engines.interface import Setting
from harness.data import load
from harness.machine import detect
from harness.measure import cut
from harness.session import Session
from harness.space import Space

REAL = Path(__file__).parents[3] / "shared" / "data"
SETS = ("sroie_receipts", "ehri_typewritten")
MACHINE = detect()
DEADLINE_S = 600.0
TINY: dict[str, Setting] = {
    "replicas": 2,
    "det_model": "v6_tiny",
    "rec_model": "v6_tiny",
    "det_threads": 1,
    "rec_threads": 1,
    "use_cls": False,
    "rec_batch": 1,
}


@pytest.mark.parametrize("pages_per_call", [1, 2, 4])
def test_blocks_beside_a_long_queue(
    pages_per_call: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = request.config.getoption("benchmark_enable", default=False)
    count, size, visits = (None, 8, 4) if whole else (5, 4, 1)
    if not REAL.is_dir():
        pytest.skip("the real pages are not here")
    if MACHINE.cores < 2:
        pytest.skip("two replicas need two cores")
    pages = tuple(page for found in load([str(REAL / name) for name in SETS]) for page in found.pages)[:count]
    variant = Space.of("ppocr", "cpu", MACHINE).variant({**TINY, "pages_per_call": pages_per_call})
    draw = random.Random(0)
    ratios: dict[bool, list[float]] = {False: [], True: []}
    with Session(variant, pages, tmp_path, MACHINE, sample_counters=False) as session:
        session.start([0], DEADLINE_S)
        session.read(range(len(pages)), DEADLINE_S, refill=False)  # every shape is met once
        for _ in range(visits):
            hand = draw.sample(range(len(pages)), len(pages))
            took_s: dict[bool | None, float] = {}
            for refill in draw.sample([None, False, True], 3):  # None: the long queue, to its last page
                blocks = [hand] if refill is None else cut(hand, size)
                took_s[refill] = sum(
                    session.read(block, DEADLINE_S, refill=bool(refill)).busy_s for block in blocks
                )
            for refill, found in ratios.items():
                found.append(math.log(took_s[refill] / took_s[None]))
    for refill, found in ratios.items():
        how = "filled to their end" if refill else "with their pauses"
        spread = f", sd {100 * stdev(found):.1f} %" if len(found) > 1 else ""
        print(f"\n{pages_per_call} a call, blocks of {size} {how}: {100 * fmean(found):+.1f} %{spread}")
    assert all(abs(value) < 1 for found in ratios.values() for value in found)
