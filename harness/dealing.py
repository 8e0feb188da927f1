"""Pages that are all there, dealt to replicas that take the next when they like. Pure: it is told what time it is.

At the end of a block some replicas have no pages left while others still read, which never happens in a long queue.
On two replicas, 35 pages in blocks of 8 took -1 to 8 % longer than in a long queue with one page a call, and 20 to
28 % longer with two or four: what was faster by a tenth looked slower by a tenth. So replicas that are through read
pages of the block again until all are, and what counts is how long each took over its own part: 2 % less than in the
long queue on average (-6 to +2 in eight passes). To leave the pause out without filling it would not do: what shares
its cores with others runs faster while they pause.
"""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import cycle
from statistics import fmean

from harness.serving import Server


class Dealing:
    """Who reads which page of a block.

    Replicas that share a queue object take pages from it by turns. With `refill` every replica that got any page is
    kept busy, in calls of `call` pages answered one after the other, until all are read: a second reading is dropped.
    """

    def __init__(
        self, replicas: Sequence[Server], queues: Sequence[deque[int]], *, call: int = 1, refill: bool = False
    ) -> None:
        self.refill = refill
        """Whether pages are read again."""
        self._call = call
        self._left = sum(map(len, {id(queue): queue for queue in queues}.values()))
        # Either all pages are dealt at once or each replica has twice its window: none waits for the mail between
        # two calls, nor for pages to fill its prefetch with.
        shares = [-(-len(queue) // sum(other is queue for other in queues)) for queue in queues]
        self._hands = {
            replica: _Hand(replica, queue) for replica, queue in zip(replicas, queues, strict=True)
        }
        for hand, share in zip(self._hands.values(), shares, strict=True):
            ahead = 2 * hand.replica.window
            hand.take(min(share, ahead))
            if refill:
                hand.again(ahead - len(hand.own))
        self._end_where_over()

    @property
    def over(self) -> bool:
        """Whether every page has been read."""
        return not self._left

    def answered(self, replica: Server, page: int, now_s: float) -> bool:
        """A replica has read a page, `now_s` seconds after the block began. Returns whether for the first time."""
        hand = self._hands[replica]
        first = hand.unread[page] > 0
        hand.unread[page] -= first
        hand.answers.append((now_s, first))
        self._left -= first
        if hand.queue:
            hand.take(1)
        elif self.refill and not self.over:
            hand.again(1)
        self._end_where_over()
        return first

    def spare_s(self, wall_s: float) -> float:
        """What the replicas had left of `wall_s`, on average, when each was through with its part."""
        return wall_s - fmean(self._busy_s(hand, wall_s) for hand in self._hands.values())

    def _busy_s(self, hand: "_Hand", wall_s: float) -> float:
        """Until a replica was through; of a call with pages that it read again, only the share of its own counts."""
        if not (self.refill and hand.own):
            return wall_s  # a queue too short for all: nothing tells what more replicas would have done
        last = max(place for place, (_, first) in enumerate(hand.answers) if first)
        begin = last - last % self._call
        began_s = hand.answers[begin - 1][0] if begin else 0.0
        own = sum(first for _, first in hand.answers[begin : last + 1])
        return began_s + (hand.answers[last][0] - began_s) * own / self._call

    def _end_where_over(self) -> None:
        # At once and to all: a replica fills its prefetch before it reads, and would wait for more for ever.
        for hand in self._hands.values():
            if not hand.ended and (self.over or not (hand.queue or (self.refill and hand.own))):
                hand.ended = True
                hand.replica.send({"end": True, "drop": self.refill})


class _Hand:
    """What one replica was dealt and has answered."""

    def __init__(self, replica: Server, queue: deque[int]) -> None:
        self.replica, self.queue = replica, queue
        self.own: list[int] = []
        self.unread: Counter[int] = Counter()
        self.answers: list[tuple[float, bool]] = []
        """When, in seconds since the block began, and whether the page was read for the first time."""
        self.ended = False
        self._again = cycle(self.own)

    def take(self, count: int) -> None:
        """The next `count` pages of the queue, or what is left of it."""
        pages = [self.queue.popleft() for _ in range(min(count, len(self.queue)))]
        self.own += pages
        self.unread.update(pages)
        self._deal(pages)

    def again(self, count: int) -> None:
        """As many of its own, if it has any, for another time."""
        self._deal([next(self._again) for _ in range(count)] if self.own else [])

    def _deal(self, pages: Sequence[int]) -> None:
        if pages:
            self.replica.send({"deal": pages})
