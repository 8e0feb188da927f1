"""Techniques that are no setting of any engine: what this machine, these pages and the baseline say of them.

Each probe ends in one sentence. A new one: a function and its row in `PROBES`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from engines.interface import Machine
from harness.data import PageError, PageRef, decode
from harness.phases.ladder import Probe
from harness.space import Space
from harness.values import Measurement, ReferencePage

_GRID: Mapping[str, tuple[int, ...]] = {
    "rec_batch": (1, 2, 4, 8, 16, 32),
    "rec_batch_size": (1, 2, 4, 8, 16, 32),
    "pages_per_call": (1, 2, 4, 8, 16, 32),
    "replicas": (1, 2, 4, 8),
}
"""The published grid in the names of knobs here: batches and workers."""
_GRID_PAGES = 100
_KERNELS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "sve")
_HASH_SIDE = 8
_ALIKE_BITS = 6
"""Pages whose 64-bit difference hashes differ in no more bits look the same to a person at arm's length."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a probe may know: the machine, the pages with their texts, and the baseline as it was measured."""

    machine: Machine
    every_page: Sequence[PageRef]
    """All that was given, of which `pages` are a sample."""
    pages: Sequence[PageRef]
    references: Sequence[ReferencePage]
    space: Space
    measured: Measurement


def found(probe: Probe, facts: Facts) -> str:
    """The sentence of a probe."""
    return PROBES[probe](facts)


def _counters(facts: Facts) -> str:
    samples = facts.measured.samples
    names = {name for sample in samples for name in sample.values}
    return (
        f"It is no setting of an engine: {len(names)} counters were read {len(samples)} times during the baseline's "
        f"pages from outside its process, and {len(facts.measured.absent)} cannot be read on this machine."
    )


def _stages(facts: Facts) -> str:
    seconds: dict[str, float] = {}
    for page in facts.measured.pages:
        for stage, spent_s in page.stage_s.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent_s
    whole_s = sum(seconds.values()) or 1.0
    parts = sorted(seconds.items(), key=lambda item: -item[1])[:2]
    shares = " and ".join(f"{100 * spent_s / whole_s:.0f} % in {stage}" for stage, spent_s in parts)
    return f"It is no setting: profiled, the baseline spends {shares}; `tune profile` goes into layers and functions."


def _documents(facts: Facts) -> str:
    documents = len({page.document for page in facts.references})
    page_s = _page_s(facts)
    return (
        f"Each of the {len(facts.pages)} pages of {documents} documents is asked for: leaving one out saves its own "
        f"{page_s:.2g} s and changes nothing for the others."
    )


def _grid(facts: Facts) -> str:
    admitted = {
        name: [value for value in values if facts.space.by_name[name].domain.admits(value)]
        for name, values in _GRID.items()
        if name in facts.space.by_name
    }
    variants = int(np.prod([len(values) for values in admitted.values()]))
    each_s = facts.measured.cold_start_s + _GRID_PAGES * _page_s(facts)
    return (
        f"A grid is a search and no setting: over {', '.join(admitted)} of {facts.space.engine} it has {variants} "
        f"variants here, at the baseline's speed {variants * each_s / 60:.0f} min with {_GRID_PAGES} pages each."
    )


def _kernels(facts: Facts) -> str:
    flags = [flag for flag in _KERNELS if flag in facts.machine.cpu_flags]
    has = (
        f"has {', '.join(flags)}" if flags else "reports none of the extensions that kernels are written for"
    )
    names = [knob.name for knob in facts.space.knobs if "isa" in knob.name.split("_")]
    chosen = (
        f"can be told by {', '.join(names)}"
        if names
        else "has no setting for it: its runtimes choose by themselves"
    )
    return f"This processor {has}, and {facts.space.engine} {chosen}, in the baseline as in every rung."


def _repeated_pages(facts: Facts) -> str:
    digests = {path: _digest(path) for path in {page.path for page in facts.every_page}}
    prints = [(digests[page.path], page.page_index) for page in facts.every_page]
    repeats = len(prints) - len(set(prints))
    if not repeats:
        return f"None of these {len(prints)} pages is there twice, so that a cache of results would never be hit."
    share = 100 * repeats / len(prints)
    return (
        f"{repeats} of these {len(prints)} pages repeat another: a cache of results would save {share:.0f} % of the "
        f"reading, and {facts.space.engine} has no setting for one."
    )


def _look_alikes(facts: Facts) -> str:
    texts = {page.page_id: page.text for page in facts.references}
    hashes = {page.id: bits for page in facts.pages if (bits := _difference_hash(page)) is not None}
    alike = [
        (a, b)
        for a, b in combinations(hashes, 2)
        if int(np.count_nonzero(hashes[a] != hashes[b])) <= _ALIKE_BITS
    ]
    pairs = len(hashes) * (len(hashes) - 1) // 2
    wrong = sum(texts[a] != texts[b] for a, b in alike)
    if not alike:
        return f"Of the {pairs} pairs of pages here none look alike, so that there is no result to share."
    return (
        f"Of the {pairs} pairs of pages here {len(alike)} look alike, and {wrong} of these have different texts, "
        "which sharing a result would lose."
    )


def _retreats(facts: Facts) -> str:
    retreats = sum(page.retreats for page in facts.measured.pages)
    peak_mib = max((sample.values.get("rss_mib", 0.0) for sample in facts.measured.samples), default=0.0)
    memory = f"{peak_mib:.0f} MiB of {facts.machine.memory_mib} MiB were used at most"
    if retreats:
        return f"It is at work in the baseline already: calls were halved {retreats} times; {memory}."
    return f"No call of the baseline ran out of memory, so that nothing had to be read again: {memory}."


def _page_s(facts: Facts) -> float:
    return fmean(page.seconds for page in facts.measured.pages)


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference_hash(page: PageRef) -> np.ndarray | None:
    """64 bits: whether each cell of a small grey picture is brighter than its right neighbour (Krawetz's dHash)."""
    try:
        picture = Image.fromarray(decode(page)).convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE))
    except PageError:
        return None
    grey = np.asarray(picture)
    return grey[:, :-1] > grey[:, 1:]


PROBES: Mapping[Probe, Callable[[Facts], str]] = {
    "counters": _counters,
    "documents": _documents,
    "grid": _grid,
    "kernels": _kernels,
    "look_alikes": _look_alikes,
    "repeated_pages": _repeated_pages,
    "retreats": _retreats,
    "stages": _stages,
}
