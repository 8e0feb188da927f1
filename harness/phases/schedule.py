"""How a ladder's time is spent: on rounds, and within a round on pages. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_ROUNDS = 4
"""Student's interval of four rounds is half as wide as that of three; of more, each adds little."""
_BLOCKS = (4, 2, 1)
"""Blocks a round: the median over several is safe from one that was disturbed, or in which a model was compiled."""
_MARGIN = 1.2
_ROUNDING = 1e-9
"""What is planned for exactly one round holds one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a variant takes, in seconds: a start with its warm-up page, and each page after it."""

    start_s: float
    page_s: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds of fresh processes, and pages in each."""

    rounds: int
    pages: int


NONE = Rounds(0, 0)


def plan_rounds(left_s: float, sides: Sequence[Cost], block: int, done: Rounds, most: int) -> Rounds:
    """The rounds of these sides that fit into `left_s` seconds, of whole blocks of `block` pages.

    `done` are those that have been measured already; `most` is the limit of all. Enough rounds come before pages, for
    an interval comes from rounds. No round has fewer pages than the one before: it would be the noisiest. The plan
    depends on time alone, never on what was measured of the difference, so that Student's interval holds.
    """
    offered = [pages for pages in _offered(sides, block) if pages >= done.pages] or [done.pages]
    fitting = [
        Rounds(min(int(left_s / _MARGIN / _round_s(sides, pages) + _ROUNDING), most - done.rounds), pages)
        for pages in offered
    ]
    enough = max(1, min(ENOUGH_ROUNDS - done.rounds, fitting[-1].rounds))
    return next((plan for plan in fitting if plan.rounds >= enough), NONE)


def _round_s(sides: Sequence[Cost], pages: int) -> float:
    return sum(side.start_s + pages * side.page_s for side in sides)


def _offered(sides: Sequence[Cost], block: int) -> list[int]:
    """Pages that a round may have, most first: fewer than most only where that saves much beside the starts."""
    most = _BLOCKS[0] * block
    is_worth_it = _round_s(sides, most) > 2 * _round_s(sides, 0)
    return [blocks * block for blocks in (_BLOCKS if is_worth_it else _BLOCKS[:1])]


def shortest_s(sides: Sequence[Cost], block: int, least: int = 0) -> float:
    """Seconds to allow for a round of as few pages as there may be, and no fewer than `least`."""
    return _MARGIN * _round_s(sides, max(least, _offered(sides, block)[-1]))
