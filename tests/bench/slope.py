"""How memory grows in one process: reads pages of ever other sizes, prints the largest resident set of each hundred.

`python -m tests.bench.slope 2000 ENGINE '{"knob": value}'` prints a JSON list of MiB.
"""

import json
import random
import sys

import numpy as np
import psutil
from PIL import Image

from engines import registry
from engines.interface import Page, StageTimer
from harness.data import decode, load

EVERY = 100


PAGES = 12
"""Pages that the others are cut from."""


def cut(page: Image.Image, draw: random.Random) -> np.ndarray:
    """A strip of the page as another scanner would give it: of ever other shapes, and cheaper than a whole page."""
    height = draw.uniform(0.1, 0.5) * page.height
    top = draw.uniform(0, page.height - height)
    scale = draw.uniform(0.3, 1.1)
    size = (int(page.width * scale), int(height * scale * draw.uniform(0.95, 1.05)))
    return np.asarray(page.resize(size, Image.Resampling.BILINEAR, box=(0, top, page.width, top + height)))


def main(count: int, engine: str, settings: dict[str, bool | int | float | str]) -> None:
    """Read `count` pages and print."""
    draw = random.Random(0)
    pages = [Image.fromarray(decode(ref)) for ref in load(["generated"])[0].pages[:PAGES]]
    process = psutil.Process()
    resident_mib, peak_bytes = [], 0
    with registry.load(engine).open(settings, "cpu", StageTimer()) as reader:
        for number in range(1, count + 1):
            reader.read([Page(str(number), cut(draw.choice(pages), draw))])
            peak_bytes = max(peak_bytes, process.memory_info().rss)
            if number % EVERY == 0:
                resident_mib.append(round(peak_bytes / 2**20, 1))
                peak_bytes = 0
                print(number, resident_mib[-1], file=sys.stderr, flush=True)
    print(json.dumps(resident_mib))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
