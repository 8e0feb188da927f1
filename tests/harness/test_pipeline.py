"""The page pipeline with readers made for the purpose."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engines import ppocr
from engines.interface import Line, Machine, OutOfMemoryError, Page, PageText, PdfPage, Settings, StageTimer
from harness.data import Decoding, PageRef, Picture, open_page
from harness.data.refs import box
from harness.pipeline import InvalidOutputError, Pipeline, knobs
from harness.values import PageRecord
from tests.engines.support import LETTER, complete, drawn

MACHINE = Machine("test", cores=4, memory_mib=8192)


class BadPageError(Exception):
    pass


@dataclass
class Reader:
    """Says the page's name; `fits` pages at a time; fails on the pages of `refuses`."""

    fits: int = 1000
    refuses: frozenset[str] = frozenset()
    calls: list[int] = field(default_factory=list)

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        self.calls.append(len(pages))
        if len(pages) > self.fits:
            raise OutOfMemoryError("too many")
        if refused := self.refuses & {page.id for page in pages}:
            raise ValueError(f"no {sorted(refused)}")
        return [PageText((Line(f"text of {page.id}"),)) for page in pages]


def pixels(index: int) -> Picture:
    return Picture(np.full((2, 2, 3), index % 256, np.uint8), 2, 2)


def pipeline(
    reader: Reader,
    count: int = 50,
    decode: Callable[[int], Picture | PageText] = pixels,
    pages_per_call: int = 1,
    prefetch: int = 0,
    decode_threads: int = 1,
) -> Pipeline:
    names = [f"p{i}" for i in range(count)]
    return Pipeline(
        reader, StageTimer(), names, decode, BadPageError, pages_per_call, prefetch, decode_threads
    )


@given(
    indices=st.lists(st.integers(0, 49), max_size=30),
    pages_per_call=st.integers(1, 7),
    prefetch=st.integers(0, 9),
    decode_threads=st.integers(1, 4),
    fits=st.integers(1, 8),
)
def test_records_come_in_the_order_of_the_pages_whatever_the_settings(
    indices: list[int], pages_per_call: int, prefetch: int, decode_threads: int, fits: int
) -> None:
    line = pipeline(
        Reader(fits),
        pages_per_call=pages_per_call,
        prefetch=prefetch,
        decode_threads=decode_threads,
    )
    records = list(line.read(indices))
    assert [index for index, _ in records] == indices
    assert [record.text for _, record in records] == [f"text of p{index}" for index in indices]


def test_out_of_memory_halves_the_call_until_it_fits_and_says_so() -> None:
    reader = Reader(fits=2)
    records = dict(pipeline(reader, pages_per_call=8).read(range(8)))
    assert reader.calls == [8, 4, 2, 2, 4, 2, 2]
    assert {record.retreats for record in records.values()} == {2}
    assert all(record.error is None for record in records.values())


def test_a_page_that_does_not_fit_alone_is_an_error_and_the_others_are_read() -> None:
    class Small(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            if any(page.id == "p3" for page in pages):
                raise OutOfMemoryError("p3 is huge")
            return super().read(pages)

    records = dict(pipeline(Small(), pages_per_call=4).read(range(8)))
    assert records[3].error == "out of memory: p3 is huge"
    assert records[3].lines == ()
    assert [index for index, record in records.items() if record.error is None] == [0, 1, 2, 4, 5, 6, 7]


def test_a_page_that_the_engine_refuses_counts_as_empty_and_costs_no_other_page() -> None:
    records = dict(pipeline(Reader(refuses=frozenset({"p1"})), pages_per_call=3).read(range(6)))
    assert records[1] == PageRecord("p1", (), records[1].seconds, records[1].stage_s, "ValueError: no ['p1']")
    assert sum(record.error is None for record in records.values()) == 5


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_page_that_cannot_be_decoded_is_reported_in_its_place(prefetch: int) -> None:
    def decode(index: int) -> Picture:
        if index == 2:
            raise BadPageError("truncated")
        return pixels(index)

    records = dict(pipeline(Reader(), decode=decode, pages_per_call=2, prefetch=prefetch).read(range(5)))
    assert records[2].error == "truncated"
    assert sorted(records) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_page_that_brings_its_text_is_not_read(prefetch: int) -> None:
    def decode(index: int) -> Picture | PageText:
        return PageText((Line("known"), Line("already"))) if index == 2 else pixels(index)

    reader = Reader()
    records = dict(pipeline(reader, decode=decode, pages_per_call=2, prefetch=prefetch).read(range(5)))
    assert (records[2].text, records[2].error) == ("known\nalready", None)
    assert set(records[2].stage_s) == {"decode"}
    assert sum(reader.calls) == 4


def test_boxes_are_reported_in_pixels_of_the_whole_page() -> None:
    class Boxed(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            return [PageText((Line("a", box([1, 2, 3, 4])), Line("b"))) for _ in pages]

    def decode(index: int) -> Picture:
        return Picture(np.zeros((10, 20, 3), np.uint8), 20 * (index + 1), 10)

    records = dict(pipeline(Boxed(), decode=decode, pages_per_call=2).read(range(2)))
    assert [record.lines[0].box for record in records.values()] == [box([1, 2, 3, 4]), box([2, 2, 6, 4])]
    assert records[1].lines[1].box is None


@pytest.mark.parametrize("settings", [{"jpeg_side": 700}, {"jpeg_side": 700, "grey": True}])
def test_an_engine_finds_lines_where_they_are_on_fewer_pixels(tmp_path: Path, settings: Settings) -> None:
    Image.fromarray(drawn("p", *LETTER).pixels).resize((1520, 720)).save(tmp_path / "page.jpg", quality=95)
    ref = PageRef("p", "s", "d", str(tmp_path / "page.jpg"), 0, "image", None, "strict", "")
    whole, fewer = (read_by_ppocr(ref, Decoding.of(chosen)) for chosen in ({}, settings))
    assert [line.text for line in fewer] == [line.text for line in whole]
    assert [line.text for line in whole] == list(LETTER)
    corners, expected = (np.array([line.box for line in lines]) for lines in (fewer, whole))
    assert expected.max() > 1000
    assert np.abs(corners - expected).max() < 16  # a third of a line's height


def read_by_ppocr(ref: PageRef, how: Decoding) -> tuple[Line, ...]:
    with ppocr.open(complete(ppocr.knobs(MACHINE)), "cpu", StageTimer()) as reader:
        line = Pipeline(reader, StageTimer(), ["p"], lambda _: open_page(ref, how), BadPageError, 1, 0, 1)
        ((_, record),) = line.read([0])
    return record.lines


def test_no_more_pages_are_held_than_the_window_says() -> None:
    held, most, lock = 0, 0, threading.Lock()

    def decode(index: int) -> Picture:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return pixels(index)

    class Releasing(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            nonlocal held
            texts = super().read(pages)
            with lock:
                held -= len(pages)
            return texts

    line = pipeline(Releasing(), decode=decode, pages_per_call=2, prefetch=3, decode_threads=4)
    assert len(list(line.read(range(40)))) == 40
    assert most <= line.window + 1  # the page that is handed over is counted on both sides


@pytest.mark.parametrize("texts", [[], [PageText(()), PageText(())], [None]])
def test_an_answer_that_is_not_one_text_a_page_is_refused(texts: list[PageText]) -> None:
    class Wrong(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            return texts

    with pytest.raises(InvalidOutputError):
        list(pipeline(Wrong()).read([0]))


def test_stage_times_of_a_call_are_shared_among_its_pages() -> None:
    class Timed(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            timer.add("recognise", 6.0)
            return super().read(pages)

    timer = StageTimer()
    line = Pipeline(Timed(), timer, ["a", "b", "c"], pixels, BadPageError, 3, 0, 1)
    assert [record.stage_s["recognise"] for _, record in line.read(range(3))] == [2.0, 2.0, 2.0]


def test_defaults_are_the_plain_loop() -> None:
    assert {knob.name: knob.default for knob in knobs(MACHINE)} == {
        "replicas": 1,
        "pin": False,
        "pages_per_call": 1,
        "prefetch": 0,
        "decode_threads": 1,
        "jpeg_side": 0,
        "pdf_side": 0,
        "grey": False,
        "use_text_layer": False,
        "slowdown_pct": 0,
    }


def test_the_slowdown_is_off_and_has_nothing_to_search() -> None:
    (knob,) = (knob for knob in knobs(MACHINE) if knob.name == "slowdown_pct")
    assert (knob.default, knob.domain.values) == (0, (0,))
    assert knob.domain.admits(8)


def test_a_slowdown_takes_its_share_of_the_call_and_leaves_the_text_alone() -> None:
    class Slow(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end:
                pass
            return super().read(pages)

    ((_, record),) = replace(pipeline(Slow()), slowdown_pct=100).read([0])
    assert record.text == "text of p0"
    assert record.seconds >= 0.04  # a lower bound: load can only add to it


def test_a_page_says_which_page_of_which_pdf_it_is() -> None:
    seen: list[PdfPage | None] = []

    class Seeing(Reader):
        def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
            seen.extend(page.pdf for page in pages)
            return super().read(pages)

    place = PdfPage("letters.pdf", 4)
    settings = {knob.name: knob.default for knob in knobs(MACHINE)}
    line = Pipeline.of(
        settings,
        reader=Seeing(),
        timer=StageTimer(),
        page_ids=["scan", "letter"],
        decode=pixels,
        page_error=BadPageError,
        pdfs={1: place},
    )
    assert len(list(line.read(range(2)))) == 2
    assert seen == [None, place]
