"""What the tool costs: throughput through it beside that of a plain loop, page by page in one run."""

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from engines.interface import Setting
from harness.data import PageRef, load
from harness.machine import detect
from harness.session import Session
from harness.space import Space
from harness.values import Variant

HERE = Path(__file__).parent
REAL = HERE.parents[2] / "shared" / "data"
MACHINE = detect()
FAST: dict[str, Setting] = {
    "det_model": "v6_tiny",
    "rec_model": "v6_tiny",
    "use_cls": False,
    "det_limit_type": "max",
    "det_side": 960,
    "rec_batch": 1,
    "rec_min_width": 32,
}


class BareLoop:
    """The plain loop, in a process of its own."""

    def __init__(self, variant: Variant) -> None:
        command = [sys.executable, str(HERE / "bare_loop.py"), variant.engine, json.dumps(variant.settings)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, page: PageRef) -> float:
        """Seconds by its own clock."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{page.path}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def log_ratios(variant: Variant, pages: tuple[PageRef, ...], visits: int, folder: Path) -> list[float]:
    """log(seconds through the tool / seconds in the loop), a value a page visit, in an order that a coin decides."""
    draw = random.Random(0)
    order = [i for _ in range(visits) for i in draw.sample(range(len(pages)), len(pages))]
    loop = BareLoop(variant)
    ratios = []
    try:
        with Session(variant, pages, folder, MACHINE) as session:
            session.start([0], 300.0)
            loop.read(pages[0])
            for i in order:
                first = draw.random() < 0.5
                bare_s = loop.read(pages[i]) if first else 0.0
                tool_s = session.read([i], 300.0).wall_s
                bare_s = bare_s if first else loop.read(pages[i])
                ratios.append(math.log(tool_s / bare_s))
    finally:
        loop.close()
    return ratios


@pytest.mark.parametrize(
    ("engine", "settings", "count", "visits"), [("ppocr", FAST, 12, 8), ("rapidocr", {}, 6, 3)]
)
def test_throughput_through_the_tool_beside_a_plain_loop(
    engine: str,
    settings: dict[str, Setting],
    count: int,
    visits: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if not request.config.getoption("benchmark_enable", default=False):
        count, visits = 2, 1  # a run of the tests only shows that it works
    if not REAL.is_dir():
        pytest.skip("the real pages are not here")
    variant = Space.of(engine, "cpu", MACHINE).variant(settings)
    (pages,) = load([str(REAL / "oldbooks_en")])
    ratios = log_ratios(variant, pages.pages[:count], visits, tmp_path)
    middle = math.exp(median(ratios))
    print(f"\n{engine}: through the tool {100 * (middle - 1):+.2f} % time a page ({len(ratios)} visits)")
    assert 0.5 < middle < 2
