"""Pages that arrive over time, dealt to replicas that never wait for more. Pure: it is told what time it is."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from harness.values import PageRecord


class Server(Protocol):
    """Who reads pages: takes as many as its window at once, and answers those of one call in any order."""

    window: int

    def send(self, message: dict[str, Any]) -> None:
        """Hand over a message of the worker's protocol."""


class Serving:
    """Which pages are still to come, which wait, and which replica holds which.

    Page `indices[i]` arrives at `arrivals_s[i]`, in ascending order; all times are seconds since the beginning.
    """

    def __init__(
        self, replicas: Sequence[Server], indices: Sequence[int], arrivals_s: Sequence[float]
    ) -> None:
        self._indices, self._arrivals_s = indices, arrivals_s
        self._coming = deque(range(len(indices)))
        self._waiting: deque[int] = deque()
        self._idle = list(replicas)
        self._held: dict[Server, list[int]] = {replica: [] for replica in replicas}
        self._records: dict[int, PageRecord] = {}

    @property
    def records(self) -> list[tuple[int, PageRecord]]:
        """Page and record, in the order of arrival."""
        return [(self._indices[place], self._records[place]) for place in sorted(self._records)]

    def deal(self, now_s: float) -> float | None:
        """Hand what has arrived to idle replicas. Returns when the next page comes, None once all is done."""
        while self._coming and self._arrivals_s[self._coming[0]] <= now_s:
            self._waiting.append(self._coming.popleft())
        while self._waiting and self._idle:
            share = -(-len(self._waiting) // len(self._idle))
            replica = self._idle.pop(0)
            places = [self._waiting.popleft() for _ in range(min(share, replica.window))]
            self._held[replica] = places
            replica.send({"deal": [self._indices[place] for place in places]})
            replica.send({"end": True})
        if self._coming:
            return self._arrivals_s[self._coming[0]]
        return None if len(self._idle) == len(self._held) else math.inf

    def answered(self, replica: Server, page: int, record: PageRecord, now_s: float) -> float:
        """Keep the record of a page that a replica has read. Returns its latency since it arrived, in seconds."""
        place = next(place for place in self._held[replica] if self._indices[place] == page)
        self._held[replica].remove(place)
        latency_s = now_s - self._arrivals_s[place]
        self._records[place] = replace(record, seconds=latency_s, done_s=now_s)
        return latency_s

    def free(self, replica: Server) -> None:
        """The replica has answered all that it held."""
        self._idle.append(replica)

    def stop(self) -> None:
        """Leave out what no replica has taken up."""
        self._coming.clear()
        self._waiting.clear()
