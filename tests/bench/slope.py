"""How memory grows in one process: reads pages of ever other sizes, prints the resident set after each hundred.

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


def resized(pixels: np.ndarray, draw: random.Random) -> np.ndarray:
    """The page as another scanner would give it: every shape that a model sees is a new one."""
    scale = draw.uniform(0.6, 1.1)
    size = (int(pixels.shape[1] * scale), int(pixels.shape[0] * scale * draw.uniform(0.95, 1.05)))
    return np.asarray(Image.fromarray(pixels).resize(size))


def main(count: int, engine: str, settings: dict[str, bool | int | float | str]) -> None:
    """Read `count` pages and print."""
    draw = random.Random(0)
    pages = [decode(ref) for ref in load(["generated"])[0].pages]
    process = psutil.Process()
    resident_mib = []
    with registry.load(engine).open(settings, "cpu", StageTimer()) as reader:
        for number in range(1, count + 1):
            reader.read([Page(str(number), resized(draw.choice(pages), draw))])
            if number % EVERY == 0:
                resident_mib.append(round(process.memory_info().rss / 2**20, 1))
                print(number, resident_mib[-1], file=sys.stderr, flush=True)
    print(json.dumps(resident_mib))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
