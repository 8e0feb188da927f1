"""Scores of pages, their sums over sets, and the registry of metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.interface import Line
from harness.accuracy.distances import Edits, character_edits, pooled, word_edits
from harness.accuracy.lines import NO_WORDS, Bag, bag_of_words, line_edits
from harness.accuracy.profiles import profile
from harness.values import ReferencePage


@dataclass(frozen=True, slots=True)
class PageScore:
    """How one page was read."""

    page_id: str
    set: str
    document: str
    characters: Edits
    words: Edits | None
    """None for a profile without words."""
    line_characters: Edits | None
    """Edits with lines matched whatever their order; None where the reference does not keep line breaks."""
    bag: Bag
    characters_out: int
    """Code points in the output, before normalisation, line breaks left out."""
    lines_out: int

    @property
    def has_reference(self) -> bool:
        """Whether there is text to be read; a blank page has no error rate."""
        return self.characters.reference_length > 0

    @property
    def bag_recall(self) -> float:
        """Share of the reference's words that were read. Raises ValueError for an empty reference."""
        return self.bag.recall

    @property
    def bag_precision(self) -> float:
        """Share of the words read that are in the reference; 0 where nothing was read."""
        return self.bag.precision


def score_page(reference: ReferencePage, lines: Sequence[Line]) -> PageScore:
    """Score the lines read on a page, in reading order: none where the engine failed on it."""
    texts = [line.text for line in lines]
    text, name = "\n".join(texts), reference.profile
    return PageScore(
        page_id=reference.page_id,
        set=reference.set,
        document=reference.document,
        characters=character_edits(reference.text, text, name),
        words=word_edits(reference.text, text, name) if profile(name).has_words else None,
        line_characters=line_edits(reference.text.splitlines(), texts, name),
        bag=bag_of_words(reference.text, text, name),
        characters_out=sum(map(len, texts)),
        lines_out=len(texts),
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """Pages pooled: a rate is the sum of edits over that of reference lengths; blank pages stand apart."""

    scores: tuple[PageScore, ...]
    """All pages, at least one."""
    characters: Edits
    words: Edits | None
    """None where no page has words."""
    line_characters: Edits | None
    """Over the pages whose reference keeps line breaks; None where none does."""
    bag: Bag
    inserted_on_blank: int
    """Characters read on pages whose reference is empty."""

    @property
    def pages(self) -> int:
        """Pages in all, blank ones included."""
        return len(self.scores)

    @property
    def cer(self) -> float:
        """Character error rate, unclipped. Raises ValueError where no page has text to be read."""
        return self.characters.rate

    @property
    def wer(self) -> float | None:
        """Word error rate, unclipped; None without words."""
        return self.words.rate if self.words else None

    @property
    def line_cer(self) -> float | None:
        """Character error rate with lines matched whatever their order; None without line breaks."""
        return self.line_characters.rate if self.line_characters else None

    def page_cer(self, quantile: float) -> float:
        """Quantile, 0 to 1, of the pages' own CER. Raises ValueError where no page has text to be read."""
        rates = [score.characters.rate for score in self.scores if score.has_reference]
        if not rates:
            raise ValueError("no page has text to be read")
        return float(np.quantile(rates, quantile))


def summarise(scores: Sequence[PageScore]) -> Summary:
    """Pool pages. Raises ValueError for none at all: the error rate of nothing must not look perfect."""
    if not scores:
        raise ValueError("no pages to summarise")
    scored = [score for score in scores if score.has_reference]
    words = [score.words for score in scored if score.words is not None]
    lines = [score.line_characters for score in scored if score.line_characters is not None]
    return Summary(
        scores=tuple(scores),
        characters=pooled(score.characters for score in scored),
        words=pooled(words) if words else None,
        line_characters=pooled(lines) if lines else None,
        bag=sum((score.bag for score in scored), NO_WORDS),
        inserted_on_blank=sum(score.characters.insertions for score in scores if not score.has_reference),
    )


def by_set(scores: Sequence[PageScore]) -> dict[str, Summary]:
    """One summary per data set, in order of first appearance. Raises ValueError for no pages."""
    if not scores:
        raise ValueError("no pages to summarise")
    sets = dict.fromkeys(score.set for score in scores)
    return {name: summarise([score for score in scores if score.set == name]) for name in sets}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a summary."""

    name: str
    unit: str
    better: str
    """`lower`, `higher`, or `same`: a volume that should not move from one run to the next."""
    help: str
    value: Callable[[Summary], float | None]
    """None where the figure does not exist. Only called where some page has text to be read."""


METRICS: tuple[Metric, ...] = (
    Metric("cer", "ratio", "lower", "edits in characters over reference characters", lambda s: s.cer),
    Metric("wer", "ratio", "lower", "edits in words over reference words", lambda s: s.wer),
    Metric("line_cer", "ratio", "lower", "CER with lines matched whatever their order", lambda s: s.line_cer),
    Metric(
        "bag_recall",
        "ratio",
        "higher",
        "reference words that were read, in any order",
        lambda s: s.bag.recall,
    ),
    Metric(
        "bag_precision", "ratio", "higher", "words read that are in the reference", lambda s: s.bag.precision
    ),
    Metric(
        "substitutions",
        "characters",
        "lower",
        "characters read as others",
        lambda s: s.characters.substitutions,
    ),
    Metric(
        "deletions", "characters", "lower", "characters that were missed", lambda s: s.characters.deletions
    ),
    Metric(
        "insertions",
        "characters",
        "lower",
        "characters that were invented",
        lambda s: s.characters.insertions,
    ),
    Metric("cer_p50", "ratio", "lower", "median over pages of the page's CER", lambda s: s.page_cer(0.5)),
    Metric(
        "cer_p90", "ratio", "lower", "90th percentile over pages of the page's CER", lambda s: s.page_cer(0.9)
    ),
    Metric(
        "inserted_on_blank", "characters", "lower", "text read on blank pages", lambda s: s.inserted_on_blank
    ),
    Metric(
        "characters_per_page",
        "characters/page",
        "same",
        "volume of output",
        lambda s: sum(score.characters_out for score in s.scores) / s.pages,
    ),
    Metric(
        "lines_per_page",
        "lines/page",
        "same",
        "volume of output",
        lambda s: sum(score.lines_out for score in s.scores) / s.pages,
    ),
)


def metrics(summary: Summary) -> dict[str, float | None]:
    """Every metric by name, None where it does not exist. Raises ValueError where all pages are blank."""
    return {metric.name: metric.value(summary) for metric in METRICS}
