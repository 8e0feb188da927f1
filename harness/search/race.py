"""When a trial is given up: it needs too much longer than its rival for the same pages. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.objectives import Objective
from harness.values import Block

_SLOWER_AT_ONCE = 4.0
_SLOWER = 2.0
"""A trial is dropped where the log of its time is so many deviations beyond the incumbent's for the same pages, after
its first block and later. The confirmation is where small gains are told."""


@dataclass(frozen=True, slots=True)
class Race:
    """One trial against the incumbent, block by block."""

    objective: Objective
    totals: Mapping[str, float]
    """The objective's total over the baseline, by page, spread as the rival's."""
    gain: float
    """Of the rival over the baseline: the incumbent, or where that is not sure to be accurate enough, the slowest
    that would be worth a proof beside it; 1 where there is none."""
    sure: bool
    """Whether there is a sure incumbent. Without one a slow trial may be the first that is accurate enough, but not
    one that does not even look worth its proof."""
    sd: float
    """Of the log of the time of trials of one variant."""
    must_be_faster: bool = True
    """Whether what is slower than the baseline is worth nothing."""

    def lost(self, blocks: Sequence[Block]) -> str | None:
        """Why to give up after these blocks, None to go on."""
        if not (self.sure or self.must_be_faster):
            return None
        expected = sum(self.totals[page.page_id] for block in blocks for page in block.pages) / self.gain
        ratio = self.objective.total(blocks) / expected
        deviations = (_SLOWER_AT_ONCE if len(blocks) == 1 else _SLOWER) if self.sure else 0.0
        limit = math.exp(deviations * self.sd)
        if ratio <= limit:
            return None
        read = sum(len(block.pages) for block in blocks)
        worthwhile = "what is worth a proof" if self.gain > 1 else "the baseline"
        rival = "the best" if self.sure else worthwhile
        return f"dropped after {read} pages: {100 * (1 - 1 / ratio):.0f} % slower than {rival}"
