"""How a budget is spent and which pages serve what. Pure."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.values import ReferencePage

BASELINE_SHARE = 0.15
"""Of the budget: the baseline is often the slowest variant of all, and every page of the search needs it."""
CONFIRM_SHARE = 0.35
"""Of the budget: five rounds of baseline and finalists cost about this much on the engines measured."""
MOST_CONFIRM_SHARE = 0.6
REPORT_S = 5.0
"""Kept back for writing the config and the report."""
MAX_SEARCH_PAGES = 32
BLOCK_PAGES = 4
MIN_CONFIRM_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of pages: those of the search, in reading order, and those kept for the proof."""

    search: tuple[int, ...]
    confirm: tuple[int, ...]
    overlap: bool
    """True where there were too few pages to keep any apart."""


def split_pages(pages: Sequence[ReferencePage], seed: int) -> Split:
    """Split by document, half and half in each set, shuffled and dealt from the sets in turn.

    Any prefix of either part is thus a fair sample of all sets. A set of one document is split by page.
    """
    draw = random.Random(f"{seed}/split")  # noqa: S311  a sample, not a secret
    documents: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, page in enumerate(pages):
        documents[page.set][page.document].append(index)
    parts: tuple[list[list[int]], list[list[int]]] = ([], [])
    for set_documents in documents.values():
        groups = list(set_documents.values())
        if len(groups) == 1:
            groups = [[index] for index in groups[0]]
        draw.shuffle(groups)
        # Largest first, each to the smaller half: a single thick book must not starve the other side.
        groups.sort(key=len, reverse=True)
        halves: tuple[list[int], list[int]] = ([], [])
        for group in groups:
            min(halves, key=len).extend(group)
        for part, half in zip(parts, halves, strict=True):
            draw.shuffle(half)
            part.append(half)
    search, confirm = (_in_turn(part) for part in parts)
    if not search or not confirm:
        everything = tuple(search) + tuple(confirm)
        return Split(everything, everything, overlap=True)
    return Split(tuple(search), tuple(confirm), overlap=False)


def _in_turn(queues: Sequence[Sequence[int]]) -> list[int]:
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


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


def confirmation_s(budget_s: float, baseline_s: tuple[float, float]) -> float:
    """Seconds to keep back for the confirmation; `baseline_s` is its cold start and its seconds a page.

    At least the usual share, and more where the baseline is so slow that the fewest rounds need more; but never
    so much that nothing is left to search with.
    """
    cold_s, page_s = baseline_s
    fewest_s = MIN_CONFIRM_ROUNDS * (2 * cold_s + (1 + BLOCK_PAGES) * page_s) * 1.5
    return max(CONFIRM_SHARE * budget_s, min(fewest_s, MOST_CONFIRM_SHARE * budget_s)) + REPORT_S


def plan_confirmation(
    left_s: float,
    baseline_s: tuple[float, float],
    finalists_s: Sequence[tuple[float, float]],
    block: int,
    pages: int,
) -> ConfirmPlan | None:
    """The most convincing confirmation that fits into `left_s` seconds, or None where none does.

    Each side is (cold start, seconds a page). Rather five rounds than three, rather more finalists than more
    pages; but no round without a whole block.
    """
    for rounds, count in ((r, n) for n in range(len(finalists_s), 0, -1) for r in (5, 4, MIN_CONFIRM_ROUNDS)):
        sides = [baseline_s, *finalists_s[:count]]
        cold, page = sum(side[0] for side in sides), sum(side[1] for side in sides)
        # A warm-up page a side and round, and a fifth on top for what a shared machine takes away.
        room = (left_s / 1.2 / rounds - cold) / page - 1
        enough = math.ceil(pages / rounds / block) * block
        fits = math.floor(room / block) * block
        if fits >= block:
            return ConfirmPlan(count, rounds, min(fits, enough))
    return None
