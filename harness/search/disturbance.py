"""Whether several devices may measure at the same time: A/A of one variant, alone and with company."""

import math
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from harness import stats
from harness.devices import Device
from harness.measure import OPEN_S, SLOWEST_PAGE_S, Bench, Deadline, warmup_pages
from harness.search.lanes import end
from harness.session import Session, TrialFailedError
from harness.values import Variant

_HARMLESS = math.log(1.05)
"""What a device may lose by the company of the others, or by being slower than the first."""
_MOST_BLOCKS = 200
_A = TypeVar("_A")
_B = TypeVar("_B")


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
        with closing(_log_ratios(devices, bench, variant, blocks, Deadline(deadline_s))) as read:
            for ratios in read:
                values.append(ratios)
                losses = [stats.confidence_sequence(device) for device in zip(*values, strict=True)]
                if all(loss.high <= _HARMLESS for loss in losses):
                    return True
                if any(loss.low > _HARMLESS for loss in losses):
                    return False
    except TrialFailedError:
        return False
    return False


def _log_ratios(
    devices: Sequence[Device],
    bench: Bench,
    variant: Variant,
    blocks: Sequence[Sequence[int]],
    clock: Deadline,
) -> Generator[tuple[float, ...], None, None]:
    """For each block, log(time in company / time of the first device alone) of every device."""
    draw = random.Random(f"{bench.seed}/company")
    # Sessions end before the threads that began them, whose death would kill their workers.
    with ThreadPoolExecutor(len(devices)) as pool, ExitStack() as sessions:

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
                session.start(warmup_pages(bench.pages), clock.left(OPEN_S))
            return session

        def read(session: Session, block: Sequence[int]) -> float:
            return bench.objective.total(
                [bench.read(session, block, clock.left(SLOWEST_PAGE_S * len(block)))]
            )

        first, *others = _all(pool, opened, devices)
        for block in islice(cycle(blocks), _MOST_BLOCKS):
            alone, company = 0.0, [0.0]
            for together in draw.sample([False, True], 2):
                if together:
                    company = _all(pool, partial(read, block=block), (first, *others))
                else:
                    alone = read(first, block)
            if not all(0 < total < math.inf for total in (alone, *company)):
                return  # a counter of energy that could not be read, or stood still
            yield tuple(math.log(total / alone) for total in company)


def _all(pool: ThreadPoolExecutor, job: Callable[[_A], _B], over: Iterable[_A]) -> list[_B]:
    """What `job` gives for each, all at the same time; where one fails, the others end at once."""
    futures = [pool.submit(job, one) for one in over]
    try:
        return [future.result() for future in futures]
    except BaseException:
        end(futures)
        raise
