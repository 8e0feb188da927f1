"""The page pipeline: what is common to all engines, inside the trial's process.

Decoding and prefetch of pages in threads with a bounded queue, pages per call, the out-of-memory retreat, and
the check that an engine answered with one text per page. Its settings are knobs like an engine's.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from engines.interface import (
    Choice,
    Knob,
    Line,
    Machine,
    Ordered,
    OutOfMemoryError,
    Page,
    PageText,
    PdfPage,
    Reader,
    Settings,
    StageTimer,
    UnsupportedError,
)
from harness.data.decode import Picture
from harness.values import PageRecord

Decode = Callable[[int], Picture | PageText]


class InvalidOutputError(Exception):
    """The engine broke the rule of one PageText per page."""


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """Settings of the pipeline on this machine. The defaults are the plain loop of every engine's manual."""
    cores = tuple(range(1, machine.cores + 1))
    return (
        Knob("replicas", "pipeline", Ordered(cores), 1, "processes that each hold an engine of their own"),
        Knob(
            "pin",
            "pipeline",
            Choice((False, True)),
            False,
            "bind each replica to its own share of the cores",
            when={"replicas": cores[1:]},
        ),
        Knob(
            "pages_per_call",
            "pipeline",
            Ordered((1, 2, 4, 8), high=64),
            1,
            "pages handed to the engine in one call; their lines may share batches",
            changes_text=True,
        ),
        Knob(
            "prefetch",
            "pipeline",
            Ordered((0, 1, 2, 4, 8), high=64),
            0,
            "pages decoded ahead of the engine; 0 decodes between calls",
        ),
        Knob(
            "decode_threads",
            "pipeline",
            Ordered((1, 2, 4), high=32),
            1,
            "threads that decode pages ahead, in each replica",
            when={"prefetch": tuple(range(1, 65))},
        ),
        *_pixels(),
        Knob(
            "slowdown_pct",
            "pipeline",
            Ordered((0,), high=100),
            0,
            "slows every call by this share, to see whether a check notices; never searched",
        ),
    )


def _pixels() -> tuple[Knob, ...]:
    """Settings that save work before the engine sees a page. Boxes are in pixels of the whole page all the same."""
    return (
        Knob(
            "jpeg_side",
            "decode",
            Ordered((0, 640, 960, 1280, 1600, 2000, 2560), high=65_535),
            0,
            "JPEG pages are decoded at the smallest scale of libjpeg (1/8, 1/4, 1/2) whose longer side keeps at "
            "least so many pixels; 0 decodes them whole",
            changes_text=True,
        ),
        Knob(
            "pdf_side",
            "decode",
            Ordered((0, 960, 1280, 1600, 2000, 2560, 3200), high=10_000),
            0,
            "pixels of the longer side at which PDF pages are rendered; 0 takes the resolution of the data set",
            changes_text=True,
        ),
        Knob(
            "grey",
            "decode",
            Choice((False, True)),
            False,
            "decode pages in shades of grey, which JPEG gives without computing colours, shown in all three channels",
            changes_text=True,
        ),
        Knob(
            "use_text_layer",
            "decode",
            Choice((False, True)),
            False,
            "PDF pages with a text layer give that text and are not read at all; for production, never searched",
            changes_text=True,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A page that is ready for the engine, or one without a picture that needs it no more."""

    index: int
    submitted_s: float
    decode_s: float
    picture: Picture | None = None
    lines: tuple[Line, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Feeds one reader. `page_ids[i]` names page i; `decode(i)` gives its pixels, or its text where that is known."""

    reader: Reader
    timer: StageTimer
    page_ids: Sequence[str]
    decode: Decode
    page_error: type[Exception]
    """What `decode` raises for a page that cannot be read."""
    pages_per_call: int
    prefetch: int
    decode_threads: int
    slowdown_pct: float = 0.0
    pdfs: Mapping[int, PdfPage] = field(default_factory=dict)
    """Of the pages that are rendered from PDFs, the places that they come from."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        reader: Reader,
        timer: StageTimer,
        page_ids: Sequence[str],
        decode: Decode,
        page_error: type[Exception],
        pdfs: Mapping[int, PdfPage],
    ) -> "Pipeline":
        """The pipeline that complete `settings` describe."""
        return cls(
            reader=reader,
            timer=timer,
            page_ids=page_ids,
            decode=decode,
            page_error=page_error,
            pages_per_call=int(settings["pages_per_call"]),
            prefetch=int(settings["prefetch"]),
            decode_threads=int(settings.get("decode_threads", 1)),
            slowdown_pct=float(settings.get("slowdown_pct", 0)),
            pdfs=pdfs,
        )

    @property
    def window(self) -> int:
        """Most pages that are held at once."""
        return self.prefetch + self.pages_per_call

    def read(self, indices: Iterable[int]) -> Iterator[tuple[int, PageRecord]]:
        """The record of each page, in the order of `indices`, as they are done."""
        decoded = self._ahead(indices) if self.prefetch else map(self._decode, indices)
        while call := list(islice(decoded, self.pages_per_call)):
            for item in call:
                if item.picture is None:
                    yield item.index, self._unread(item)
            yield from self._call([item for item in call if item.picture is not None], retreats=0)

    def _ahead(self, indices: Iterable[int]) -> Iterator[_Decoded]:
        waiting: deque[Future[_Decoded]] = deque()
        with ThreadPoolExecutor(self.decode_threads, thread_name_prefix="decode") as pool:
            for index in indices:
                waiting.append(pool.submit(self._decode, index))
                if len(waiting) > self.prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _decode(self, index: int) -> _Decoded:
        start = time.perf_counter()
        try:
            found = self.decode(index)
        except self.page_error as error:
            return _Decoded(index, start, time.perf_counter() - start, error=str(error) or "not decoded")
        decode_s = time.perf_counter() - start
        if isinstance(found, PageText):
            return _Decoded(index, start, decode_s, lines=found.lines)
        return _Decoded(index, start, decode_s, found)

    def _call(self, items: Sequence[_Decoded], retreats: int) -> Iterator[tuple[int, PageRecord]]:
        if not items:
            return
        pictures = [item.picture for item in items if item.picture is not None]
        pages = [
            Page(self.page_ids[item.index], picture.pixels, self.pdfs.get(item.index))
            for item, picture in zip(items, pictures, strict=True)
        ]
        began = time.perf_counter()
        try:
            texts = self.reader.read(pages)
        except OutOfMemoryError as error:
            self.timer.take()
            if len(items) == 1:
                failed = replace(items[0], error=f"out of memory: {error}")
                yield failed.index, self._unread(failed, retreats)
                return
            half = len(items) // 2
            yield from self._call(items[:half], retreats + 1)
            yield from self._call(items[half:], retreats + 1)
            return
        except UnsupportedError:  # of all pages alike, such as what is compiled at the first one
            raise
        except Exception as error:  # noqa: BLE001  one page that an engine cannot read must not end the trial
            self.timer.take()
            if len(items) == 1:
                failed = replace(items[0], error=f"{type(error).__name__}: {error}")
                yield failed.index, self._unread(failed, retreats)
                return
            for item in items:
                yield from self._call([item], retreats)
            return
        _check(texts, pages)
        self._slow_down(began, items)
        done = time.perf_counter()
        stages = {name: seconds / len(items) for name, seconds in self.timer.take().items()}
        for item, picture, text in zip(items, pictures, texts, strict=True):
            yield (
                item.index,
                PageRecord(
                    page_id=self.page_ids[item.index],
                    lines=tuple(map(picture.on_page, text.lines)),
                    seconds=done - item.submitted_s,
                    stage_s={"decode": item.decode_s, **stages},
                    retreats=retreats,
                ),
            )

    def _slow_down(self, began: float, items: Sequence[_Decoded]) -> None:
        """Compute nothing for `slowdown_pct` of the call, decoding included where nothing hides it."""
        if not self.slowdown_pct:
            return
        now = time.perf_counter()
        cost_s = now - began + (0.0 if self.prefetch else sum(item.decode_s for item in items))
        while time.perf_counter() < now + self.slowdown_pct / 100 * cost_s:
            pass  # busy as a slower program would be: sleeping would leave the core to the other side

    def _unread(self, item: _Decoded, retreats: int = 0) -> PageRecord:
        """The record of a page that the engine gave no text of: it failed, or brought its text along."""
        return PageRecord(
            page_id=self.page_ids[item.index],
            lines=item.lines,
            seconds=time.perf_counter() - item.submitted_s,
            stage_s={"decode": item.decode_s},
            error=item.error,
            retreats=retreats,
        )


def _check(texts: Sequence[PageText], pages: Sequence[Page]) -> None:
    if len(texts) != len(pages):
        raise InvalidOutputError(f"the engine returned {len(texts)} texts for {len(pages)} pages")
    for text in texts:
        if not isinstance(text, PageText):
            raise InvalidOutputError(f"the engine returned a {type(text).__name__} where a PageText was due")
