"""What is to be made better: how pages are sent for it, and what a measurement is worth in its terms. Pure.

Everything that is compared is a total that should be small; the gain of B over A is log(total of A / total of B), so
that 0.69 is twice as good whatever the objective.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import UserError, unknown
from harness.scenarios import OFFLINE, Scenario, Traffic
from harness.values import Block, Study

NAMES = ("throughput", "latency", "server", "energy", "cost")
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective with its parameters."""

    name: str
    scenario: Scenario
    total: Callable[[Sequence[Block]], float]
    """What these blocks took: the smaller, the better. Its unit cancels, as only totals of equal pages compare."""
    faster: str
    """As in "2.00 times faster than": what a gain is called."""
    as_fast: str
    """As in "2.00x as fast"."""
    needs_long_blocks: bool = False
    """Whether the pages of a round are one block: a queue needs time to build up, a counter of energy to step."""


def _busy_s(blocks: Sequence[Block]) -> float:
    return sum(block.busy_s for block in blocks)


def _latency_s(blocks: Sequence[Block]) -> float:
    return sum(page.seconds for block in blocks for page in block.pages)


def _energy_j(blocks: Sequence[Block]) -> float:
    # A counter that cannot be read must not look thrifty.
    return sum(float("inf") if block.energy_j is None else block.energy_j for block in blocks)


THROUGHPUT = Objective("throughput", OFFLINE, _busy_s, "faster", "as fast")
LATENCY = Objective(
    "latency", Scenario(Traffic.SINGLE), _latency_s, "faster with single pages", "as fast with single pages"
)
ENERGY = Objective(
    "energy", OFFLINE, _energy_j, "more pages per joule", "the pages per joule", needs_long_blocks=True
)


def server(rate: float) -> Objective:
    """The mean latency, waiting included, of pages that arrive at random, `rate` a second."""
    at = f"at {rate:g} pages/s"
    return Objective(
        "server",
        Scenario(Traffic.SERVER, rate),
        _latency_s,
        f"faster to answer {at}",
        f"as fast to answer {at}",
        needs_long_blocks=True,
    )


def cost(price_per_hour: float) -> Objective:
    """The price of the time that pages take on a machine that costs `price_per_hour`."""

    def total(blocks: Sequence[Block]) -> float:
        return price_per_hour * _busy_s(blocks) / _SECONDS_PER_HOUR

    return Objective("cost", OFFLINE, total, "more pages for the money", "the pages for the money")


def objective(name: str, *, rate: float | None, price_per_hour: float | None) -> Objective:
    """The objective of that name. Raises UserError where a parameter is missing, out of place or impossible."""
    for option, value, owner, example in (
        ("--rate", rate, "server", "2.5, the pages a second that arrive"),
        ("--price-per-hour", price_per_hour, "cost", "1.20, what the machine costs"),
    ):
        if value is None and name == owner:
            raise UserError(f"--objective {name} needs {option}, such as {option} {example}")
        if value is not None and name != owner:
            raise UserError(f"{option} belongs to --objective {owner}; leave it out with {name}")
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{option} must be a number above 0, not {value:g}")
    if rate is not None:
        return server(rate)
    if price_per_hour is not None:
        return cost(price_per_hour)
    for found in (THROUGHPUT, LATENCY, ENERGY):
        if found.name == name:
            return found
    raise unknown("objective", name, NAMES)


def described(study: Study) -> str:
    """The objective of a study with its parameter, for people."""
    if study.rate is not None:
        return f"{study.objective}, {study.rate:g} pages/s arriving"
    if study.price_per_hour is not None:
        return f"{study.objective} at {study.price_per_hour:g} an hour"
    return study.objective


def of(study: Study) -> Objective:
    """The objective of a study."""
    return objective(study.objective, rate=study.rate, price_per_hour=study.price_per_hour)
