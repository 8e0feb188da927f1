"""Reading order: from boxes anywhere on a page to lines as a person reads them.

Top to bottom by visual line, left to right inside one, and columns of prose one after the other. The page is
cut recursively along vertical gaps (as in the XY-cut of Nagy and Seth, 1984), but only where several lines of
prose stand on both sides: a receipt or table, whose rows belong together, is not cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from engines.interface import Box, Line

_MIN_ROWS = 5
"""Fewer lines side by side are a header, a form or an address, which are read across."""
_MIN_WIDTH = 8.0
"""Narrower columns hold prices or numbers, not prose. In line heights."""
_MIN_FILL = 0.85
"""Prose fills its column: the median share that a row covers of the width that its neighbours span."""
_NEIGHBOURS = 2
"""Rows above and below that are looked at: a column may narrow beside a picture."""
_MIN_GUTTER = 0.3
"""Columns are at least this far apart. In line heights."""
_MARGIN = 0.2
"""Detected boxes reach this far beyond their text to the left and right. In line heights."""
_MIN_BESIDE = 0.5
"""Columns stand beside each other over this share of the shorter one's height."""
_SAME_ROW = 0.5
"""Centres of one visual line differ by less than this share of the lower box's height."""
_MAX_OVERLAP = 0.3
"""Boxes of one visual line cover each other by less than this share of the narrower one's width."""
_RECENT_ROWS = 8


@dataclass(frozen=True, slots=True)
class _Item:
    """Upright bounds of one line's text on the deskewed page."""

    line: Line
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left


_Row = list[_Item]


def reading_order(lines: Sequence[Line]) -> tuple[Line, ...]:
    """`lines` in reading order, those of one visual line joined into one.

    Joined lines have their texts joined by spaces, the upright rectangle around their boxes and the least of
    their confidences. Lines without a box come last, in the order given.
    """
    items = _deskewed([(line, line.box) for line in lines if line.box is not None])
    ordered = [_joined(row) for row in _ordered(items)]
    return (*ordered, *(line for line in lines if line.box is None))


def _deskewed(boxed: Sequence[tuple[Line, Box]]) -> list[_Item]:
    """Bounds after turning the page by the median slope of its long lines."""
    slopes = sorted(
        ((b[1] - a[1]) / (b[0] - a[0]), b[0] - a[0])
        for _, (a, b, _, d) in boxed
        if b[0] - a[0] > 4 * abs(d[1] - a[1])
    )
    slope = _weighted_median(slopes) if slopes else 0.0
    items = []
    for line, box in boxed:
        xs = [x + slope * y for x, y in box]
        ys = [y - slope * x for x, y in box]
        margin = min(_MARGIN * (max(ys) - min(ys)), (max(xs) - min(xs)) / 4)
        items.append(_Item(line, min(xs) + margin, min(ys), max(xs) - margin, max(ys)))
    return items


def _weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """The value at which half the weight is reached; `pairs` are sorted (value, weight)."""
    half = sum(weight for _, weight in pairs) / 2
    reached = 0.0
    for value, weight in pairs:
        reached += weight
        if reached >= half:
            return value
    return pairs[-1][0]


def _ordered(items: Sequence[_Item]) -> list[_Row]:
    """Rows in reading order: bands of columns are read one column after the other, the rest across."""
    cut = _best_cut(items)
    if cut is None:
        return _rows(items)
    rows: list[_Row] = []
    across: list[_Item] = []
    for band in _bands(items, cut):
        left, right = _sides(band, cut)
        if not _are_columns(left, right):
            across.extend(band)
            continue
        rows += _ordered(across) if across else []
        across = []
        rows += _ordered(left) + _ordered(right)
    return rows + (_ordered(across) if across else [])


def _best_cut(items: Sequence[_Item]) -> float | None:
    """The x at which cutting sorts most lines into columns, None where no cut does."""
    best, best_score = None, 0
    for cut in _gaps(items):
        bands = (_sides(band, cut) for band in _bands(items, cut))
        score = sum(len(left) + len(right) for left, right in bands if _are_columns(left, right))
        if score > best_score:
            best, best_score = cut, score
    return best


def _gaps(items: Sequence[_Item]) -> Iterator[float]:
    """Middles of the vertical strips that fewer lines cover than the strips beside them."""
    if len(items) < 2 * _MIN_ROWS:
        return
    step = max(median(item.height for item in items) / 4, 1.0)
    start = min(item.left for item in items)
    covered = [0] * (int((max(item.right for item in items) - start) / step) + 1)
    for item in items:
        for strip in range(int((item.left - start) / step), int((item.right - start) / step) + 1):
            covered[strip] += 1
    # Where the count changes; a run between a fall and a rise is a gap.
    changes = [i for i, (one, other) in enumerate(pairwise(covered), start=1) if one != other]
    for begin, end in pairwise(changes):
        if covered[begin - 1] > covered[begin] < covered[end]:
            yield start + step * (begin + end) / 2


def _bands(items: Sequence[_Item], cut: float) -> list[list[_Item]]:
    """The lines from top to bottom in bands; a line that the cut runs through is a band of its own."""
    bands: list[list[_Item]] = [[]]
    for item in sorted(items, key=lambda item: item.middle):
        if item.left < cut < item.right:
            bands += [[item], []]
        else:
            bands[-1].append(item)
    return [band for band in bands if band]


def _sides(band: Sequence[_Item], cut: float) -> tuple[list[_Item], list[_Item]]:
    return [item for item in band if item.right <= cut], [item for item in band if item.left >= cut]


def _are_columns(left: Sequence[_Item], right: Sequence[_Item]) -> bool:
    if min(len(left), len(right)) < _MIN_ROWS:
        return False
    line_height = median(item.height for item in (*left, *right))
    gutter = min(item.left for item in right) - max(item.right for item in left)
    beside = min(_bottom(left), _bottom(right)) - max(_top(left), _top(right))
    shorter = min(_bottom(left) - _top(left), _bottom(right) - _top(right))
    if gutter < _MIN_GUTTER * line_height or beside < _MIN_BESIDE * shorter:
        return False
    return _is_prose(left, line_height) and _is_prose(right, line_height)


def _is_prose(side: Sequence[_Item], line_height: float) -> bool:
    width = max(item.right for item in side) - min(item.left for item in side)
    rows = _rows(side)
    if width < _MIN_WIDTH * line_height or len(rows) < _MIN_ROWS:
        return False
    fills = []
    for index, row in enumerate(rows):
        near = rows[max(index - _NEIGHBOURS, 0) : index + _NEIGHBOURS + 1]
        span = max(item.right for r in near for item in r) - min(item.left for r in near for item in r)
        fills.append(sum(item.width for item in row) / span)
    return median(fills) >= _MIN_FILL


def _top(items: Sequence[_Item]) -> float:
    return min(item.top for item in items)


def _bottom(items: Sequence[_Item]) -> float:
    return max(item.bottom for item in items)


def _rows(items: Sequence[_Item]) -> list[_Row]:
    """Visual lines from top to bottom, each from left to right."""
    rows: list[_Row] = []
    for item in sorted(items, key=lambda item: item.middle):
        # Rows further up cannot be on a level with this item: items come in the order of their middles.
        row = next((row for row in reversed(rows[-_RECENT_ROWS:]) if _belongs(item, row)), None)
        if row is None:
            rows.append([item])
        else:
            row.append(item)
    rows.sort(key=lambda row: sum(item.middle for item in row) / len(row))
    return [sorted(row, key=lambda item: item.left) for row in rows]


def _belongs(item: _Item, row: _Row) -> bool:
    for other in row:
        overlap = min(item.right, other.right) - max(item.left, other.left)
        if overlap > _MAX_OVERLAP * min(item.width, other.width):
            return False
    # The nearest one decides: lines of a bent page drift from one end to the other.
    nearest = min(row, key=lambda other: max(other.left - item.right, item.left - other.right))
    return abs(item.middle - nearest.middle) < _SAME_ROW * min(item.height, nearest.height)


def _joined(row: _Row) -> Line:
    if len(row) == 1:
        return row[0].line
    lines = [item.line for item in row]
    xs = [x for line in lines if line.box for x, _ in line.box]
    ys = [y for line in lines if line.box for _, y in line.box]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return Line(
        " ".join(line.text for line in lines),
        ((left, top), (right, top), (right, bottom), (left, bottom)),
        min((line.confidence for line in lines if line.confidence is not None), default=None),
    )
