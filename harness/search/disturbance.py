"""Whether several devices may measure at the same time: A/A of one variant, alone and with company."""

import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle, islice, repeat

from harness import descendants, stats
from harness.devices import Device
from harness.measure import OPEN_S, SLOWEST_PAGE_S, Bench, Deadline, warmup_pages
from harness.session import Session, TrialFailedError
from harness.values import Interval, Variant

_HARMLESS = math.log(1.05)
"""What a device may lose by the company of the others, or by being slower than the first."""
_MOST_BLOCKS = 24
_AT_ONCE_S = 1.0


def undisturbed(
    devices: Sequence[Device],
    bench: Bench,
    variant: Variant,
    blocks: Sequence[Sequence[int]],
    *,
    deadline_s: float,
) -> bool:
    """Whether each device, while all of them read, is as fast as the first one alone, to within 5 %.

    Blocks are read in fresh processes by the first device alone and by all at once, in an order that a coin decides,
    until an interval that may be looked at any time is clear for every device or `deadline_s`, in seconds, has
    passed. False where it stays unclear, and where the variant fails on a device.
    """
    values: list[tuple[float, ...]] = []
    try:
        for ratios in _log_ratios(devices, bench, variant, blocks, Deadline(deadline_s)):
            values.append(ratios)
            losses = [stats.confidence_sequence(device) for device in zip(*values, strict=True)]
            if all(_harmless(loss) for loss in losses):
                return True
            if any(loss.low > _HARMLESS for loss in losses):
                return False
    except TrialFailedError:
        return False
    return False


def _harmless(loss: Interval) -> bool:
    return loss.high <= _HARMLESS


def _log_ratios(
    devices: Sequence[Device],
    bench: Bench,
    variant: Variant,
    blocks: Sequence[Sequence[int]],
    clock: Deadline,
) -> Iterator[tuple[float, ...]]:
    """For each block, log(time in company / time of the first device alone) of every device."""
    draw = random.Random(f"{bench.seed}/company")
    with ExitStack() as sessions, ThreadPoolExecutor(len(devices)) as pool:

        def opened(device: Device) -> Session:
            with device.confined():
                session = sessions.enter_context(
                    Session(
                        replace(variant, device=device.name),
                        bench.pages,
                        bench.folder / device.label,
                        device.seen_from(bench.machine),
                        sample_counters=False,
                    )
                )
                session.start(warmup_pages(1, len(bench.pages)), clock.left(OPEN_S))
            return session

        def read(session: Session, block: Sequence[int]) -> float:
            return bench.objective.total(
                [bench.read(session, block, clock.left(SLOWEST_PAGE_S * len(block)))]
            )

        try:
            first, *others = pool.map(opened, devices)
            for block in islice(cycle(blocks), _MOST_BLOCKS):
                alone, company = 1.0, []
                for together in draw.sample([False, True], 2):
                    if together:
                        company = list(pool.map(read, (first, *others), repeat(block)))
                    else:
                        alone = read(first, block)
                yield tuple(math.log(total / alone) for total in company)
        except KeyboardInterrupt:
            descendants.kill_all(_AT_ONCE_S)  # or the threads would wait for their workers
            raise
