"""Where one variant's time goes, seen from inside: the child of `tune profile`.

Started as `python -m harness.profiler SPEC` under the interpreter of the engine. It reads the pages plainly for the
stage table, once more under pyinstrument and, where the engine has loaded PyTorch, under its profiler; then the
engine's `layers` function opens it anew. What is not installed is said, not failed on.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines import registry
from engines.interface import Layer, Page, Reader, Settings, StageTimer, UnsupportedError
from harness.data import PageError, PageRef, decode

PROFILE = "profile.json"
FLAME, SPEEDSCOPE, TORCH, RUNTIME = "flame.html", "flame.speedscope.json", "torch", "runtime"
_INTERVAL_S = 0.001
_TORCH_PAGES = 2
"""A trace has some ten thousand events a page, and TensorBoard reads all of them at once."""
_FONTS = (
    "https://fonts.googleapis.com/css?family=Source+Code+Pro:400,600|Source+Sans+Pro:400,600&display=swap"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found. `stage_ms` has one entry a page; the files lie beside."""

    stage_ms: tuple[Mapping[str, float], ...] = ()
    layers: tuple[Layer, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    """What could not be had, with the reason."""
    failure: str | None = None


def profile(spec: Mapping[str, Any], folder: Path) -> Profile:
    """Profile the variant of `spec` on its pages, with traces written into `folder`. Raises UnsupportedError."""
    settings, device = spec["settings"], spec["device"]
    pages = list(_decoded([PageRef.from_json(page) for page in spec["pages"]]))
    if not pages:
        return Profile(failure="no page could be decoded")
    size = int(settings["pages_per_call"])
    calls = [pages[start : start + size] for start in range(0, len(pages), size)]
    timer, missing = StageTimer(), dict[str, str]()
    with registry.load(spec["engine"]).open(settings, device, timer) as reader:
        reader.read(calls[0])
        timer.take()
        stage_ms = tuple(entry for call in calls for entry in _stages(reader, call, timer))
        if reason := _python_side(reader, calls, folder):
            missing["flame graph"] = reason
        if reason := _torch_side(reader, pages[:_TORCH_PAGES], folder):
            missing["PyTorch trace"] = reason
    layers = _layers(spec["engine"], settings, device, pages, folder / RUNTIME)
    if not layers:
        missing["layers"] = f"{spec['engine']} with these settings keeps no table of its layers"
    return Profile(stage_ms, layers, missing)


def _decoded(refs: Sequence[PageRef]) -> Iterator[Page]:
    for ref in refs:
        try:
            yield Page(ref.id, decode(ref))
        except PageError as error:
            sys.stderr.write(f"{ref.id}: {error}\n")


def _stages(reader: Reader, call: Sequence[Page], timer: StageTimer) -> list[dict[str, float]]:
    """Milliseconds by stage, an entry a page; pages of one call share its time evenly."""
    reader.read(call)
    shares = {stage: 1000 * spent_s / len(call) for stage, spent_s in timer.take().items()}
    return [shares] * len(call)


def _python_side(reader: Reader, calls: Sequence[Sequence[Page]], folder: Path) -> str | None:
    """Write the flame graph of Python functions; the reason where it cannot be."""
    if find_spec("pyinstrument") is None:
        return f"pyinstrument is missing here; run `{sys.executable} -m pip install pyinstrument`"
    from pyinstrument import Profiler  # noqa: PLC0415  optional
    from pyinstrument.renderers import HTMLRenderer, SpeedscopeRenderer  # noqa: PLC0415

    profiler = Profiler(interval=_INTERVAL_S)
    with profiler:
        for call in calls:
            reader.read(call)
    # The page would otherwise ask another host for its fonts.
    page = profiler.output(HTMLRenderer(timeline=True)).replace(_FONTS, "data:text/css,")
    (folder / FLAME).write_text(page, encoding="utf-8")
    (folder / SPEEDSCOPE).write_text(profiler.output(SpeedscopeRenderer()), encoding="utf-8")
    return None


def _torch_side(reader: Reader, pages: Sequence[Page], folder: Path) -> str | None:
    """Write a trace for TensorBoard; the reason where the engine does not use PyTorch."""
    if "torch" not in sys.modules:
        return "nothing here runs in PyTorch"
    import torch  # noqa: PLC0415  the engine has loaded it already
    from torch.profiler import ProfilerActivity, tensorboard_trace_handler  # noqa: PLC0415

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    handler = tensorboard_trace_handler(str(folder / TORCH), worker_name="ocr-tune")
    with torch.profiler.profile(activities=activities, record_shapes=True, on_trace_ready=handler):
        reader.read(pages)
    return None


def _layers(
    engine: str, settings: Settings, device: str, pages: Sequence[Page], folder: Path
) -> tuple[Layer, ...]:
    folder.mkdir()
    found = tuple(registry.layers(engine, settings, device, pages, folder))
    if not any(folder.iterdir()):
        folder.rmdir()
    return tuple(sorted(found, key=lambda layer: -layer.total_ms))


def main(spec_path: str) -> int:
    """Profile what the spec says and leave `profile.json` beside it. Returns the exit status."""
    path = Path(spec_path)
    try:
        found = profile(json.loads(path.read_text(encoding="utf-8")), path.parent)
    except UnsupportedError as error:
        found = Profile(failure=str(error))
    (path.parent / PROFILE).write_text(json.dumps(asdict(found)), encoding="utf-8")
    return 0 if found.failure is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
