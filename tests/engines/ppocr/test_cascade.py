"""A second recogniser reads what the first is unsure of, and nothing else."""

import numpy as np
import pytest

from engines import ppocr
from engines.interface import Setting, StageTimer
from engines.ppocr.cascade import Cascade
from engines.ppocr.ctc import Reading
from engines.ppocr.images import Pixels
from engines.ppocr.reader import PpocrReader
from engines.ppocr.runtimes import Session, Tensor
from engines.ppocr.stages import Recogniser
from tests.engines.support import MACHINE, complete, drawn


class Spelled:
    """Reads a line as its first pixel and remembers what it was given."""

    def __init__(self, weakest: list[float]) -> None:
        self.weakest = weakest
        self.given: list[list[int]] = []

    def read(self, crops: list[Pixels]) -> list[Reading]:
        marks = [int(crop[0, 0, 0]) for crop in crops]
        self.given.append(marks)
        return [Reading(f"{mark}", 0.99, self.weakest[mark]) for mark in marks]


class Widths(Session):
    """Remembers the shapes that it is called with and sees blanks only."""

    def __init__(self) -> None:
        self.metadata = {}
        self.shapes: list[tuple[int, int]] = []

    def run(self, x: Tensor) -> Tensor:
        self.shapes.append((x.shape[0], x.shape[3]))
        return np.zeros((x.shape[0], 4, 3), np.float32)


def marked(count: int) -> list[Pixels]:
    return [np.full((2, 2, 3), mark, np.uint8) for mark in range(count)]


def test_only_lines_below_the_threshold_are_read_again_in_one_call_and_in_place() -> None:
    first, second = Spelled([0.99, 0.5, 0.9, 0.0]), Spelled([1.0, 0.97, 1.0, 0.96])
    readings = Cascade(first, second, 0.9).read(marked(4))
    assert first.given == [[0, 1, 2, 3]]
    assert second.given == [[1, 3]]
    assert [reading.weakest for reading in readings] == [0.99, 0.97, 0.9, 0.96]


@pytest.mark.parametrize(
    ("limit", "shapes"),
    [
        (0, [(3, 480), (1, 960)]),
        (960, [(2, 96), (1, 480), (1, 960)]),
        (100, [(1, 96), (1, 96), (1, 480), (1, 960)]),
    ],
)
def test_a_call_holds_no_more_width_than_allowed_but_always_a_line(
    limit: int, shapes: list[tuple[int, int]]
) -> None:
    session = Widths()
    crops = [np.zeros((48, width, 3), np.uint8) for width in (960, 96, 480, 96)]
    recogniser = Recogniser(session, ["a"], batch=3, min_width=32, width_bucket=1, batch_width=limit)
    assert len(recogniser.read(crops)) == 4
    assert session.shapes == shapes


def test_every_line_of_a_page_escalated_is_the_text_of_the_second_model() -> None:
    def read(**changes: Setting) -> str:
        knobs = ppocr.knobs(MACHINE)
        settings = complete(knobs, use_cls=False, **changes)
        return (
            PpocrReader(settings, "cpu", StageTimer())
            .read([drawn("page", "Total 99.50", "Thank you")])[0]
            .text
        )

    cascade = read(rec_model="v4_mobile", rec_escalate_model="v6_small", rec_escalate_below=1.0)
    assert cascade == read(rec_model="v6_small") == "Total 99.50\nThank you"
