"""From a matplotlib figure to an `svg` element that belongs to the page.

Colours are placeholders that become CSS variables of the page, so one picture serves light, dark and print.
Text stays text, in the page's font. Equal figures give equal markup.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.words import clean

INK, MUTED, GRID, BASELINE, BEST, BAD, TRIAL = (f"#00000{digit}" for digit in range(1, 8))
_CSS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    BASELINE: "var(--baseline)",
    BEST: "var(--best)",
    BAD: "var(--bad)",
    TRIAL: "var(--trial)",
}


@contextmanager
def style() -> Iterator[None]:
    """Within it, figures are drawn and written in the style of the page. Not safe among threads."""
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "tune",
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.parse_math": False,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.edgecolor": GRID,
            "axes.facecolor": "none",
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.major.size": 0,
            "ytick.major.size": 0,
            "xtick.major.pad": 6,
            "legend.frameon": False,
            "legend.handletextpad": 0.5,
            "legend.columnspacing": 1.4,
            "figure.facecolor": "none",
        }
    ):
        yield


def markup(figure: Figure, name: str, says: str) -> Markup:
    """`figure` as an `svg` element; `name` makes its identifiers unique in the page, `says` is its label."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # type: ignore[no-untyped-call]
    svg = buffer.getvalue()
    size = re.search(r'<svg[^>]*(viewBox="[^"]*")[^>]*>', svg)
    if size is None:
        raise AssertionError("an SVG of matplotlib has a viewBox")
    svg = svg[size.end() :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")
    svg = re.sub("|".join(_CSS), lambda match: _CSS[match.group()], svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    head = f'<svg {size.group(1)} role="img" aria-label="{escape(clean(says))}">'
    return Markup(head + svg)  # noqa: S704  drawn by matplotlib, which escapes text; the label is escaped here
