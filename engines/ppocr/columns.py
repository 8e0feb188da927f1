"""Boxes that reach across a gutter, cut there: detectors join lines of columns that stand close together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.ppocr.images import Pixels, Quads, crop

_MIN_WIDTH = 7.0
"""Narrower columns hold bullets or numbers that belong to the text beside them. In line heights."""
_MIN_GAP = 0.4
"""Words of a line mostly stand closer together than columns do. In line heights."""
_MARGIN = 0.7
"""Boxes reach at most this far beyond their text. In line heights."""
_NEAR = 1.5
"""Lines end and begin this near to a gutter. In line heights."""
_MIN_LINES = 5
"""Fewer gaps between words or ends of lines come to stand below each other by chance."""
_MIN_GAPS = 2
"""One heading may be blank there by chance."""
_MIN_SHARE = 0.6
"""Of the lines that reach across a gutter; the others are headings and footers."""
_INNER = 0.15
"""Share of a line's height, above and below, into which its neighbours' letters reach."""
_FAINT = 0.3
"""Paper and its grain: share of the contrast of a line."""
_STRIPS = 4
"""Strips in a line height, in which gaps are counted across the page."""

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Page:
    """What turns points of a page into places from left to right: pixels on the upright page."""

    slope: float
    height: float
    """Of a line, in pixels."""

    def span(self, quad: NDArray[np.float32]) -> _Span:
        """Where a box begins and ends."""
        begin, end = (
            float(x + self.slope * y) for x, y in ((quad[0] + quad[3]) / 2, (quad[1] + quad[2]) / 2)
        )
        return begin, end


def split_at_gutters(pixels: Pixels, quads: Quads) -> Quads:
    """The boxes of shape (N, 4, 2), those that reach across or into a gutter cut there.

    A gutter is where most of the long lines that pass a place are blank, one below the other.
    """
    lengths = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)
    height = float(np.median(np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1))) if len(quads) else 0.0
    is_long = lengths > 2 * _MIN_WIDTH * height
    if is_long.sum() < _MIN_LINES:
        return quads
    rises = quads[is_long, 1] - quads[is_long, 0]
    page = _Page(float(np.median(rises[:, 1] / np.maximum(rises[:, 0], 1.0))), height)
    spans = [page.span(quad) for quad in quads]
    gaps = [
        _gaps(pixels, quad, span) if long else []
        for quad, span, long in zip(quads, spans, is_long, strict=True)
    ]
    long_ones = np.flatnonzero(is_long).tolist()
    gutters = _gutters([spans[i] for i in long_ones], [gaps[i] for i in long_ones], height)
    parts = [
        part
        for quad, span, blank in zip(quads, spans, gaps, strict=True)
        for part in _parts(quad, span, blank, gutters, _MARGIN * height)
    ]
    return np.stack(parts)


def _gaps(pixels: Pixels, quad: NDArray[np.float32], span: _Span) -> list[_Span]:
    """The blank places inside a line that are wider than a gap between words."""
    grey = cv2.cvtColor(crop(pixels, quad, "exact"), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    inner = grey[int(_INNER * height) : max(int((1 - _INNER) * height), 1)]
    paper = int(np.bincount(inner.ravel()).argmax())
    deviation = np.abs(inner.astype(np.int16) - paper)
    blank = deviation.max(axis=0) < _FAINT * np.percentile(deviation, 98)
    begin, end = span
    return [
        (begin + (end - begin) * first / width, begin + (end - begin) * last / width)
        for first, last in _runs(blank)
        if last - first >= _MIN_GAP * height and min(first, width - last) >= _MIN_WIDTH * height
    ]


def _gutters(spans: Sequence[_Span], gaps: Sequence[Sequence[_Span]], height: float) -> list[float]:
    """In each gutter between lines with these spans and gaps, the place that most gaps have in common."""
    step, margin, near = height / _STRIPS, _MARGIN * height, _NEAR * height
    origin = min(begin for begin, _ in spans)
    strips = int((max(end for _, end in spans) - origin) / step) + 1
    passing, blank, ended, begun = np.zeros((4, strips), int)

    def count(counts: NDArray[np.int_], begin: float, end: float) -> None:
        first, last = (max(round((place - origin) / step), 0) for place in (begin, end))
        counts[first:last] += 1

    for (begin, end), inside in zip(spans, gaps, strict=True):
        count(passing, begin + margin, end - margin)
        count(begun, begin - near, begin + margin)
        count(ended, end - margin, end + near)
        for gap in inside:
            count(blank, *gap)
    evidence = blank + np.minimum(ended, begun)
    is_gutter = (blank >= _MIN_GAPS) & (blank >= _MIN_SHARE * passing) & (evidence >= _MIN_LINES)
    return [
        origin
        + step
        * (float(np.flatnonzero(evidence[first:last] == evidence[first:last].max()).mean()) + first + 0.5)
        for first, last in _runs(is_gutter)
    ]


def _parts(
    quad: NDArray[np.float32], span: _Span, gaps: Sequence[_Span], gutters: Sequence[float], margin: float
) -> Iterator[NDArray[np.float32]]:
    """The box without what reaches into a gutter by no more than `margin`, cut where a gap lies on a gutter."""
    begin, end = span
    if end - begin < 3 * margin:  # a letter or two, or a line that runs from top to bottom
        yield quad
        return
    cuts = [begin]
    for gutter in gutters:
        if begin < gutter < end and any(first <= gutter <= last for first, last in gaps):
            cuts += [gutter, gutter]
        elif begin < gutter < begin + margin:
            cuts = [gutter]
        elif end - margin < gutter < end:
            end = gutter
    cuts.append(end)
    begin, length = span[0], span[1] - span[0]
    a, b, c, d = quad
    for first, last in zip(cuts[::2], cuts[1::2], strict=True):
        left, right = (first - begin) / length, (last - begin) / length
        yield np.array(
            [a + (b - a) * left, a + (b - a) * right, d + (c - d) * right, d + (c - d) * left], np.float32
        )


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first and the one after the last place of each run of true values."""
    edges: list[list[int]] = (
        np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2).tolist()
    )
    return [(first, last) for first, last in edges]
