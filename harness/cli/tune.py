"""`tune`: the main job's arguments. What it does is in `harness.cli.main_job`, imported when it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from harness.cli.arguments import seconds


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    engine: str
    device: str
    budget_s: float
    data: tuple[str, ...]
    profile: str | None
    objective: str
    max_cer_increase: float
    max_p95_ms: float | None
    max_p99_ms: float | None
    max_memory_mib: float | None
    max_gpu_memory_mib: float | None
    rate: float | None
    price_per_hour: float | None
    storage: str | None
    out: Path | None
    resume: bool
    seed: int
    json: bool


def tune(
    *,
    engine: str = "ppocr",
    device: str = "auto",
    budget: Annotated[float, Parameter(converter=seconds)] = 600.0,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    profile: str | None = None,
    objective: Literal["throughput", "latency", "server", "energy", "cost"] = "throughput",
    rate: float | None = None,
    price_per_hour: float | None = None,
    max_cer_increase: float = 0.002,
    max_p95_ms: float | None = None,
    max_p99_ms: float | None = None,
    max_memory_mib: float | None = None,
    max_gpu_memory_mib: float | None = None,
    storage: str | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find the best settings of an engine on this machine, prove them, and write best.yaml and report.html.

    Exits 0 where a config was found and 1 where nothing met the constraints.

    Parameters
    ----------
    engine
        Engine to tune; `tune engines` lists them.
    device
        auto, cpu, cuda:0, ... With several of one kind, cuda:0,cuda:1 or sets of cores cpu:0-3,cpu:4-7, trials
        run side by side where the devices are shown not to slow each other down.
    budget
        Wall time for everything: baseline, search, proof and report. 90s, 10m, 2h.
    data
        Data set or path; may be given several times. Default: the generated pages.
    profile
        Normalisation profile for CER and WER instead of the data set's own.
    objective
        What to improve. throughput: pages a second. latency: one page at a time. server: latency, waiting
        included, where pages arrive at random, --rate a second. energy: joules a page, where the hardware counts
        them. cost: the price of a page at --price-per-hour.
    rate
        Pages a second that arrive, for the server objective.
    price_per_hour
        What the machine costs, for the cost objective.
    max_cer_increase
        How much the CER may rise over the engine as shipped, on the upper 95 % bound.
    max_p95_ms
        Bound on the 95th percentile of the latency of a page.
    max_p99_ms
        Bound on the 99th percentile; with fewer pages than it needs the slowest page stands in, as for p95.
    max_memory_mib
        Bound on the memory of all processes.
    max_gpu_memory_mib
        Bound on the memory in use on any GPU, that of other programs included.
    storage
        postgresql://USER@HOST/DATABASE where machines share the study: trials of machines like this one are learnt,
        the best of others are tried. Default: the run folder alone.
    out
        Run folder. Default: runs/DATE-ENGINE.
    resume
        Go on with the run in --out: it knows all that was measured.
    seed
        Seed of everything that is drawn.
    json
        Print the result as one JSON document.
    """
    from harness.cli.main_job import run

    return run(
        Request(
            engine=engine,
            device=device,
            budget_s=budget,
            data=tuple(data or ()),
            profile=profile,
            objective=objective,
            max_cer_increase=max_cer_increase,
            max_p95_ms=max_p95_ms,
            max_p99_ms=max_p99_ms,
            max_memory_mib=max_memory_mib,
            max_gpu_memory_mib=max_gpu_memory_mib,
            rate=rate,
            price_per_hour=price_per_hour,
            storage=storage,
            out=out,
            resume=resume,
            seed=seed,
            json=json,
        )
    )
