"""Pages of the search that an engine may build models from."""

from collections.abc import Iterable, Iterator, Sequence

from engines.interface import Page
from harness import environments
from harness.data import PageError, PageRef, decode
from harness.errors import UserError
from harness.search.plan import Split
from harness.space import Space

MAX_PAGES = 8
"""Ranges of activations settle after a few pages; more of them only make every build longer."""


def calibrated(space: Space, pages: Sequence[PageRef], split: Split) -> Space:
    """The space with what the engine made of a few pages of the search fixed; the proof's pages stay unseen.

    Side effect: the engine may keep these pages in its cache. Raises UserError where it cannot.
    """
    # Any prefix of the search's pages is a fair sample of all strata.
    return calibrated_on(space, [pages[index] for index in split.search[:MAX_PAGES]])


def calibrated_on(space: Space, sample: Sequence[PageRef]) -> Space:
    """The same with these pages."""
    try:
        return space.fixed(environments.calibrate(space.engine, _decoded(sample)))
    except OSError as error:
        raise UserError(
            f"cannot keep calibration pages in the cache folder ({error.strerror}): "
            "set OCR_TUNE_CACHE to a folder that can be written and has room"
        ) from error


def _decoded(refs: Iterable[PageRef]) -> Iterator[Page]:
    for ref in refs:
        try:
            yield Page(ref.id, decode(ref))
        except PageError:
            continue  # the trials will say what is wrong with it
