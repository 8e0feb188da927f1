"""The pytest fixture `ocr_gate`: gates any OCR code on its CER and records its throughput. Needs pytest-benchmark."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Read = Callable[[NDArray[np.uint8]], str]
Gate = Callable[..., float]


@pytest.fixture
def ocr_gate(request: pytest.FixtureRequest) -> Gate:
    """`ocr_gate(read, data="scans/", max_cer=0.05)`; `read` takes pixels, (height, width, 3) uint8 RGB, gives text.

    Reads every page of the data set, fails where the CER is above `max_cer`, and returns it. Throughput is recorded
    by pytest-benchmark, with CER and pages in its JSON; `profile` names a normalisation profile.
    """
    benchmark = request.getfixturevalue("benchmark")

    def gate(read: Read, *, data: str, max_cer: float, profile: str | None = None, rounds: int = 3) -> float:
        return _gate(benchmark, read, data, max_cer, profile, rounds)

    return gate


def _gate(benchmark: Any, read: Read, data: str, max_cer: float, profile: str | None, rounds: int) -> float:
    from harness.accuracy.distances import character_edits, pooled  # noqa: PLC0415  pytest starts without it
    from harness.data import decode, load  # noqa: PLC0415

    pages = [page for loaded in load([data], profile=profile) for page in loaded.pages if page.text]
    if not pages:
        pytest.fail(f"{data} has no page with ground truth")
    pixels = [decode(page) for page in pages]
    texts = benchmark.pedantic(lambda: [read(page) for page in pixels], rounds=rounds, warmup_rounds=1)
    edits = pooled(
        character_edits(page.text or "", text, page.profile) for page, text in zip(pages, texts, strict=True)
    )
    benchmark.extra_info.update(pages=len(pages), cer=edits.rate)
    if benchmark.enabled:
        benchmark.extra_info["pages_per_second"] = len(pages) / benchmark.stats.stats.median
    if edits.rate > max_cer:
        pytest.fail(f"CER {edits.rate:.4f} is above {max_cer} on {len(pages)} pages of {data}")
    return edits.rate
