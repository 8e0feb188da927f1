"""What a user would write without the tool: a loop over image paths from stdin, timed by its own clock.

`python bare_loop.py rapidocr` calls the library as its manual does; `python bare_loop.py ppocr '{"knob": value}'`
decodes with Pillow and calls the engine's reader.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from engines import registry
from engines.interface import Page, StageTimer


def loop(read: Callable[[str], object]) -> None:
    for line in sys.stdin:
        start = time.perf_counter()
        read(line.strip())
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "rapidocr":
        from rapidocr import RapidOCR

        loop(RapidOCR(params={"Global.log_level": "error"}))
    else:
        engine = registry.load(sys.argv[1])
        with engine.open(json.loads(sys.argv[2]), "cpu", StageTimer()) as reader:
            loop(lambda path: reader.read([Page(path, np.array(Image.open(path).convert("RGB")))]))
