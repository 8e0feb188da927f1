"""Memory over a long run of settings that a search emits: `OCR_TUNE_SLOPE_PAGES=2000 make bench ARGS="-k slope"`."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from engines.interface import Setting
from harness.experiments import read_experiment
from harness.machine import detect
from harness.space import Space
from tests.bench.slope import EVERY

PAGES = int(os.environ.get("OCR_TUNE_SLOPE_PAGES", "0"))
MOST_MIB = 1.0
MACHINE = detect()
EMITTED: dict[str, Setting] = {**read_experiment("ppocr", "cpu", MACHINE).start[0], "replicas": 1}
"""What a search begins with, and most often ends near, in one process."""


def slope_mib(resident_mib: list[float]) -> float:
    """MiB that every hundred pages add, by least squares over the second half: by then all buffers have been made."""
    settled = resident_mib[len(resident_mib) // 2 :]
    return float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) * 100 / EVERY


def test_the_slope_is_that_of_the_second_half() -> None:
    assert abs(slope_mib([10, 90, 100, 102, 104, 106]) - 2.0) < 1e-9


@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_pages_read(benchmark: Any) -> None:
    settings = dict(Space.of("ppocr", "cpu", MACHINE).suggested(EMITTED).settings)
    pages = PAGES if benchmark.enabled and PAGES else 2
    command = [sys.executable, "-m", "tests.bench.slope", str(pages), "ppocr", json.dumps(settings)]
    done = benchmark.pedantic(
        lambda: subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True), rounds=1
    )
    resident_mib = json.loads(done.stdout)
    assert len(resident_mib) == pages // EVERY
    if len(resident_mib) >= 6:
        slope = slope_mib(resident_mib)
        print(f"\n{pages} pages: {slope:+.2f} MiB every 100 pages, {resident_mib[-1]:.0f} MiB at the end")
        assert slope < MOST_MIB
