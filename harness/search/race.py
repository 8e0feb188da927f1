"""When a trial is given up: it needs too much longer than the incumbent for the same pages. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.objectives import Objective
from harness.values import Block

_SLOWER_AT_ONCE = 1.35
_SLOWER = 1.15
"""A trial is dropped where it needs this many times the incumbent's time for the same pages, after its first block
and later. Trials minutes apart differ by up to 16 % for nothing; the confirmation is where small gains are told."""


@dataclass(frozen=True, slots=True)
class Race:
    """One trial against the incumbent, block by block."""

    objective: Objective
    shares: Mapping[str, float]
    """The objective's total over the baseline, by page."""
    gain: float
    """Of the incumbent over the baseline; 1 where none is sure to be accurate enough."""
    sure: bool
    """Whether there is a sure incumbent: without one, a slow trial that is accurate must be heard out."""

    def lost(self, blocks: Sequence[Block]) -> str | None:
        """Why to give up after these blocks, None to go on."""
        expected = sum(self.shares[page.page_id] for block in blocks for page in block.pages) / self.gain
        ratio = self.objective.total(blocks) / expected
        # What does not even look faster than the baseline cannot win, whatever it reads.
        limit = (_SLOWER_AT_ONCE if len(blocks) == 1 else _SLOWER) if self.sure else 1.0
        if ratio <= limit:
            return None
        read = sum(len(block.pages) for block in blocks)
        rival = "the best" if self.sure else "the baseline"
        return f"dropped after {read} pages: {100 * (1 - 1 / ratio):.0f} % slower than {rival}"
