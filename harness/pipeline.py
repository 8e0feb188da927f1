"""The page pipeline: what is common to all engines, inside the trial's process.

Decoding and prefetch of pages in threads with a bounded queue, pages per call, the out-of-memory retreat, and
the check that an engine answered with one text per page. Its settings are knobs like an engine's.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engines.interface import (
    Choice,
    Knob,
    Machine,
    Ordered,
    OutOfMemoryError,
    Page,
    PageText,
    PdfPage,
    Reader,
    Settings,
    StageTimer,
)
from harness.values import PageRecord

Decode = Callable[[int], NDArray[np.uint8]]


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
        Knob(
            "slowdown_pct",
            "pipeline",
            Ordered((0,), high=100),
            0,
            "slows every call by this share, to see whether a check notices; never searched",
        ),
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    index: int
    page: Page | None
    submitted_s: float
    decode_s: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Feeds one reader. `page_ids[i]` names page i and `decode(i)` gives its pixels."""

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
                if item.page is None:
                    yield item.index, self._failed(item, item.error or "not decoded")
            yield from self._call([item for item in call if item.page is not None], retreats=0)

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
            page = Page(self.page_ids[index], self.decode(index), self.pdfs.get(index))
        except self.page_error as error:
            return _Decoded(index, None, start, time.perf_counter() - start, str(error))
        return _Decoded(index, page, start, time.perf_counter() - start)

    def _call(self, items: Sequence[_Decoded], retreats: int) -> Iterator[tuple[int, PageRecord]]:
        if not items:
            return
        pages = [item.page for item in items if item.page is not None]
        began = time.perf_counter()
        try:
            texts = self.reader.read(pages)
        except OutOfMemoryError as error:
            self.timer.take()
            if len(items) == 1:
                yield items[0].index, self._failed(items[0], f"out of memory: {error}", retreats)
                return
            half = len(items) // 2
            yield from self._call(items[:half], retreats + 1)
            yield from self._call(items[half:], retreats + 1)
            return
        except Exception as error:  # noqa: BLE001  one page that an engine cannot read must not end the trial
            self.timer.take()
            if len(items) == 1:
                yield items[0].index, self._failed(items[0], f"{type(error).__name__}: {error}", retreats)
                return
            for item in items:
                yield from self._call([item], retreats)
            return
        _check(texts, pages)
        self._slow_down(began, items)
        done = time.perf_counter()
        stages = {name: seconds / len(items) for name, seconds in self.timer.take().items()}
        for item, text in zip(items, texts, strict=True):
            yield (
                item.index,
                PageRecord(
                    page_id=self.page_ids[item.index],
                    lines=text.lines,
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

    def _failed(self, item: _Decoded, error: str, retreats: int = 0) -> PageRecord:
        return PageRecord(
            page_id=self.page_ids[item.index],
            lines=(),
            seconds=time.perf_counter() - item.submitted_s,
            stage_s={"decode": item.decode_s},
            error=error,
            retreats=retreats,
        )


def _check(texts: Sequence[PageText], pages: Sequence[Page]) -> None:
    if len(texts) != len(pages):
        raise InvalidOutputError(f"the engine returned {len(texts)} texts for {len(pages)} pages")
    for text in texts:
        if not isinstance(text, PageText):
            raise InvalidOutputError(f"the engine returned a {type(text).__name__} where a PageText was due")
