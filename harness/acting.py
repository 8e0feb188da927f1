"""Which settings of the page pipeline can act on given pages at all, and what may not be measured on them.

Read from the headers of the files, before anything is measured. An engine's own settings are not judged here:
`harness.probing` tries them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engines.interface import Knob, Setting, Settings
from harness.data import PageError, PageRef
from harness.data.decode import Header, read_header, read_text_layer
from harness.errors import UserError
from harness.experiments import Experiment
from harness.space import Space

TEXT_LAYER = "use_text_layer"
_SAME_WORDS = 0.9
"""Share of common words, in whatever order, from which ground truth and text layer are one text."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What the pages of a run have that settings of decoding act on."""

    longest_jpeg: int = 0
    """Pixels of the longer side of the largest JPEG page, 0 without any."""
    pdf: bool = False
    colour: bool = False

    @classmethod
    def of(cls, pages: Sequence[PageRef]) -> "Traits":
        """The traits of `pages`; images that cannot be opened have none."""
        headers = [header for page in pages if page.kind == "image" and (header := _header(page))]
        pdf = any(page.kind == "pdf" for page in pages)
        return cls(
            longest_jpeg=max((max(h.width, h.height) for h in headers if h.format == "JPEG"), default=0),
            pdf=pdf,
            colour=pdf or any(header.colour for header in headers),
        )


_NEEDS: Mapping[str, tuple[Callable[[Traits, Setting], bool], str]] = {
    "jpeg_side": (
        lambda traits, side: traits.longest_jpeg >= 2 * float(side),
        "no JPEG page is large enough",
    ),
    "pdf_side": (lambda traits, _: traits.pdf, "no page is a PDF's"),
    "grey": (lambda traits, _: traits.colour, "every page is grey already"),
    TEXT_LAYER: (lambda traits, _: traits.pdf, "no page is a PDF's"),
}
"""Whether a value other than the default acts on pages with these traits, and the reason where it does not."""


def idle_settings(settings: Settings, space: Space, traits: Traits) -> dict[str, str]:
    """Settings that differ from their default and cannot act on pages with these traits, with the reason."""
    return {
        name: reason
        for name, (_, reason) in _NEEDS.items()
        if name in settings and not _acts(space.by_name[name], settings[name], traits)
    }


def idle_knobs(space: Space, traits: Traits) -> dict[str, str]:
    """Settings of which no value of the grid can act on pages with these traits, with the reason."""
    idle = {}
    for name, (_, reason) in _NEEDS.items():
        knob = space.by_name[name]
        if not any(_acts(knob, value, traits) for value in knob.domain.values if value != knob.default):
            idle[name] = reason
    return idle


def untriable(space: Space, pages: Sequence[PageRef]) -> dict[str, str]:
    """Settings that cannot act on these pages, or may not be tried on them, with the reason."""
    idle = idle_knobs(space, Traits.of(pages))
    if any(map(_is_copied, pages)):
        idle[TEXT_LAYER] = "the text layer is the ground truth of a page"
    return idle


def searched(experiment: Experiment, space: Space, traits: Traits) -> Experiment:
    """The experiment without values that cannot act on pages with these traits, and without the text layer.

    Taking the text layer is a decision for production: in a search it would win by not reading at all.
    """
    search = experiment.search
    if search is None:
        search = {knob.name: list(knob.domain.values) for knob in space.knobs}
    acting = {
        name: [value for value in values if _acts(space.by_name[name], value, traits)]
        or [space.by_name[name].default]
        for name, values in search.items()
        if name in space.by_name and name != TEXT_LAYER
    }
    return experiment.model_copy(update={"search": acting})


def refuse_copying(settings: Settings, pages: Sequence[PageRef]) -> None:
    """Raise UserError where pages would be scored by the very text that the settings take for the answer."""
    if not settings.get(TEXT_LAYER):
        return
    if copied := next(filter(_is_copied, pages), None):
        raise UserError(
            f"{TEXT_LAYER}=true would compare the text layer of {copied.path} with itself: leave it out, or measure "
            "on pages whose ground truth is another text"
        )


def _acts(knob: Knob, value: Setting, traits: Traits) -> bool:
    return knob.name not in _NEEDS or value == knob.default or _NEEDS[knob.name][0](traits, value)


def _header(page: PageRef) -> Header | None:
    try:
        return read_header(page)
    except PageError:
        return None  # the trials will say what is wrong with it


@cache
def _is_copied(page: PageRef) -> bool:
    """Whether the ground truth of a page is the text layer of its PDF."""
    if page.kind != "pdf" or page.text is None:
        return False
    try:
        layer = read_text_layer(Path(page.path), page.page_index)
    except PageError:
        return False
    truth, found = Counter(page.text.split()), Counter((layer or "").split())
    return (truth & found).total() >= _SAME_WORDS * max(truth.total(), found.total(), 1)
