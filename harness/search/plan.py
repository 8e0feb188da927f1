"""How a budget is spent and which pages serve what. Pure."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.interface import Settings
from harness import stats
from harness.values import ReferencePage

BASELINE_SHARE = 0.15
"""Of the budget: the baseline is often the slowest variant of all, and every page of the search needs it."""
CONFIRM_SHARE = 0.35
"""Of the budget, at the least."""
MOST_CONFIRM_SHARE = 0.5
"""Of the budget, for reading enough pages."""
UTMOST_CONFIRM_SHARE = 0.65
"""Of the budget, where the engine is so slow that any proof at all takes more."""
NOISE_SHARE = 0.05
"""Of the budget, at the most: measuring how much trials differ for nothing, where no earlier run has."""
DEVICES_SHARE = 0.1
"""Of the budget, at the most: telling whether several devices may measure at the same time."""
REPORT_S = 5.0
"""Kept back for writing the config and the report."""
MAX_SEARCH_PAGES = 32
BLOCK_PAGES = 4
_BLOCK_S = 10.0
"""Of the baseline: pages that take so long tell a slow variant by fewer than a block of them."""
_HOPED_GAIN = 2.0
"""Of a trial, before any has shown more."""
MIN_CONFIRM_ROUNDS = 3
MAX_CONFIRM_ROUNDS = 8
MAX_FINALISTS = 3
ENOUGH_PAGES = 24
"""Pages that a confirmation aims at. One page that is read in another order can still widen the interval of 24
beyond the margin: more pages are better, and a slow baseline is what limits them."""
_FEWEST_PAGES = 2
"""Of a round, for one process a core to have something to share out."""
HEADROOM = 1.1
"""What a shared machine may take away on top; rounds that run late are given fewer pages."""
OVERTIME = 1.5
"""Times the time that is left that a round of the confirmation may take: one that is broken off was for nothing."""
_USED_UP = 0.8
"""How far reading nearly all pages makes up for their differences: a median of other blocks each time still differs.
Fitted to page times of recorded trials."""
_WORTH_A_FINALIST = 0.7
"""Share of the pages that may be given up for more finalists or a narrower interval, where there are too few."""


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of pages: those of the search, in reading order, and those kept for the proof."""

    search: tuple[int, ...]
    confirm: tuple[int, ...]
    overlap: bool
    """True where there were too few pages to keep any apart."""

    @property
    def every(self) -> tuple[int, ...]:
        """Each page once: those of the search, then those of the proof."""
        return self.search if self.overlap else (*self.search, *self.confirm)


def split_pages(pages: Sequence[ReferencePage], seed: int = 0) -> Split:
    """Split by document, half and half in each set and language, in an order of chance that only names decide.

    Runs on the same pages split them alike, whatever their seeds: they judge accuracy on the same pages, and none
    proves on what an earlier one, whose best it starts from, has searched on. A set and language of one document only
    is split by page: a search that never saw a script would choose a model that cannot read it. Any prefix of either
    part is a fair sample of all of it.
    """

    def by_chance(index: int) -> bytes:
        page = pages[index]
        return _chance(seed, page.set, page.document, page.page_id)

    strata: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, page in enumerate(pages):
        strata[page.set, page.language][page.document].append(index)
    search: list[list[int]] = []
    confirm: list[list[int]] = []
    for (set_, _), documents in strata.items():
        groups = [documents[name] for name in sorted(documents, key=lambda name: _chance(seed, set_, name))]
        if len(groups) == 1:
            groups = [[index] for index in sorted(groups[0], key=by_chance)]
        # Largest first, each to the smaller half: a single thick book must not starve the other side.
        groups.sort(key=len, reverse=True)
        halves: tuple[list[int], list[int]] = ([], [])
        for group in groups:
            min(halves, key=len).extend(group)
        for part, half in zip((search, confirm), halves, strict=True):
            part.append(sorted(half, key=by_chance))
    if not any(search) or not any(confirm):
        everything = tuple(_mixed(search + confirm))
        return Split(everything, everything, overlap=True)
    return Split(tuple(_mixed(search)), tuple(_mixed(confirm)), overlap=False)


def _chance(seed: int, *names: str) -> bytes:
    """A place in an order that looks drawn and stays the same."""
    # File names that are no text are surrogates.
    return hashlib.sha256("\0".join((str(seed), *names)).encode(errors="surrogateescape")).digest()


def _mixed(strata: Sequence[Sequence[int]]) -> list[int]:
    """All pages, each stratum spread evenly over the whole."""
    places = [((i + 0.5) / len(stratum), page) for stratum in strata for i, page in enumerate(stratum)]
    return [page for _, page in sorted(places)]


def even_blocks(pages: Sequence[int], size: int) -> list[Sequence[int]]:
    """Blocks of `size` pages; the last may be shorter."""
    return [pages[i : i + size] for i in range(0, len(pages), size)]


def first_pages(page_s: float, block: int, pages: int) -> int:
    """Pages of the first block of a trial where the baseline takes `page_s` seconds over one.

    At least the `block` that fills every replica, and never more than the `pages` that there are.
    """
    return min(pages, max(1, block, min(BLOCK_PAGES, round(_BLOCK_S / page_s))))


def blocks_of(pages: Sequence[int], size: int = BLOCK_PAGES) -> list[list[int]]:
    """Blocks of `size` pages, then of twice as many and so on: losers are told from the first ones.

    What is left at the end joins the last block.
    """
    blocks: list[list[int]] = []
    start = 0
    while start < len(pages):
        blocks.append(list(pages[start : start + size]))
        start += size
        size *= 2
    if len(blocks) > 1 and len(blocks[-1]) < len(blocks[-2]):
        tail = blocks.pop()
        blocks[-1] = blocks[-1] + tail
    return blocks


@dataclass(frozen=True, slots=True)
class ConfirmPlan:
    """How many finalists, rounds, and pages a round fit into the time that is left."""

    finalists: int
    rounds: int
    pages_per_round: int

    def pages(self, most: int) -> int:
        """Different pages that it reads of `most` that there are."""
        return min(most, self.rounds * self.pages_per_round)

    def half_width(self, noise_sd: float, gain_sd: float, most: int) -> float:
        """Of the interval of a finalist's log speed-up, to expect where trials of a block differ by `noise_sd`.

        Half of their variance is reckoned to be the process's, which more pages in it do not average out. Of the
        `most` pages there are, each gains otherwise, by `gain_sd`: rounds that do not read all differ for that, too.
        """
        read = self.pages_per_round
        of_pages = gain_sd**2 / read * (1 - _USED_UP * read / most) if read < most else 0.0
        sd_of_ratio = math.sqrt(noise_sd**2 * (1 + BLOCK_PAGES / read) + of_pages)
        return stats.half_width(sd_of_ratio, self.rounds, stats.ALPHA / self.finalists)


def confirmation_s(budget_s: float, baseline_s: tuple[float, float], pages: int) -> float:
    """Seconds to keep back for the confirmation on so many `pages`.

    `baseline_s` is its cold start and its seconds a page. The usual share, and more where the baseline is so slow
    that reading enough pages takes more: a search is worth nothing without the pages that prove its result. Less
    where the longest confirmation takes less.
    """
    cold_s, page_s = baseline_s
    enough_s = MIN_CONFIRM_ROUNDS * 3 * cold_s + 1.5 * (ENOUGH_PAGES + MIN_CONFIRM_ROUNDS) * page_s
    least_s = HEADROOM * MIN_CONFIRM_ROUNDS * 2 * (cold_s + _FEWEST_PAGES * page_s)
    sides_s = (1 + MAX_FINALISTS) * cold_s + (1 + MAX_FINALISTS / _HOPED_GAIN) * pages * page_s
    longest_s = HEADROOM * MAX_CONFIRM_ROUNDS * sides_s
    shares = (CONFIRM_SHARE * budget_s, min(enough_s, MOST_CONFIRM_SHARE * budget_s))
    return min(longest_s, max(*shares, min(least_s, UTMOST_CONFIRM_SHARE * budget_s))) + REPORT_S


def first_block_s(baseline_s: tuple[float, float], gain: float, pages: int) -> float:
    """Seconds without which a trial tells nothing: its start and first block, when it is about `gain` times faster.

    `baseline_s` as in `confirmation_s`; the block has so many `pages`.
    """
    cold_s, page_s = baseline_s
    return cold_s + pages * page_s / max(gain, _HOPED_GAIN)


def trials_that_fit(left_s: float, baseline_s: tuple[float, float], pages: int) -> int:
    """Trials of all the `pages` that there is time for, when they are as fast as is hoped for.

    `baseline_s` as in `confirmation_s`.
    """
    cold_s, page_s = baseline_s
    return max(0, math.floor(left_s / (cold_s + pages * page_s / _HOPED_GAIN)))


def starts_in_order(bold: Sequence[Settings], careful: Sequence[Settings], trials: int) -> list[Settings]:
    """What a search tries first, where there is time for so many trials.

    What is careful comes last, as a fast leader drops it after a few pages; but after the first where there are more
    starts than trials, for one of them must be sure to be proven.
    """
    place = len(bold) if len(bold) + len(careful) <= trials else 1
    return [*bold[:place], *careful, *bold[place:]]


def plan_confirmation(
    left_s: float,
    baseline_s: tuple[float, float],
    finalists_s: Sequence[tuple[float, float]],
    block: int,
    pages: int,
    *,
    log_gain: float,
    noise_sd: float,
    gain_sd: float,
) -> ConfirmPlan | None:
    """The most convincing confirmation that fits into `left_s` seconds, or None where none does.

    Each side is (cold start with its warm-up, seconds a page). Accuracy differs by tenths of a point, and only
    different pages tell that: they come first. Then the interval of the speed-up must be narrow enough for a gain of
    `log_gain` where trials differ by `noise_sd` for nothing, and pages by `gain_sd` in what is gained on them; then
    more finalists, then a narrower interval. A page may be read in several rounds: time that is kept for the proof is
    of no use otherwise.
    """

    def fit(count: int, rounds: int) -> int:
        """Pages a round: all of them, or whole blocks."""
        sides = [baseline_s, *finalists_s[:count]]
        cold, page = sum(side[0] for side in sides), sum(side[1] for side in sides)
        room = (left_s / HEADROOM / rounds - cold) / page
        return pages if room >= pages else math.floor(room / block) * block

    schemes = [
        ConfirmPlan(count, rounds, fit(count, rounds))
        for count in range(1, len(finalists_s) + 1)
        for rounds in range(MIN_CONFIRM_ROUNDS, MAX_CONFIRM_ROUNDS + 1)
    ]
    possible = [scheme for scheme in schemes if scheme.pages_per_round >= block]
    most = max((scheme.pages(pages) for scheme in possible), default=0)
    wanted = min(pages, ENOUGH_PAGES)
    worth = wanted if most >= wanted else _WORTH_A_FINALIST * most

    def merit(scheme: ConfirmPlan) -> tuple[bool, float, int, float]:
        width = scheme.half_width(noise_sd, gain_sd, pages)
        return scheme.pages(pages) >= worth, -max(width, log_gain / 2), scheme.finalists, -width

    return max(possible, key=merit, default=None)


def plan_affordable(
    finalists_s: Sequence[tuple[float, float]],
    plan: Callable[[Sequence[tuple[float, float]]], ConfirmPlan | None],
) -> tuple[list[int], ConfirmPlan | None]:
    """Which finalists are proven, by their places, and how, where `plan` gives the plan for some of them.

    What starts too slowly must not keep the others from their proof.
    """
    kept = list(range(len(finalists_s)))
    while True:
        scheme = plan([finalists_s[place] for place in kept])
        if scheme or len(kept) == 1:
            return kept, scheme
        kept.remove(max(kept, key=lambda place: finalists_s[place]))


def pages_that_fit(round_s: float, cold_s: float, page_s: float, most: int) -> int:
    """Pages of a round that may take `round_s` seconds, at most `most`; `page_s` is that of all sides together.

    A machine that grew slower since the plan was made would otherwise not end its last round.
    """
    return max(0, min(most, math.floor((round_s / HEADROOM - cold_s) / page_s)))
