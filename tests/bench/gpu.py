"""What tuning is worth on a CUDA machine: `make gpu`, or `python -m tests.bench.gpu --out build/gpu`.

Tunes ppocr on a GPU, compares the result with PyTorch as a first script would use it (eager, f32, one line a call),
and reads the GPU's counters while the result runs. Says what is missing where there is no GPU.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import nvml

ASKED_SPEEDUP = 8.0
ASKED_UTILISATION_PCT = 85.0
UNTUNED = (
    "ppocr:det_runtime=torch,rec_runtime=torch,use_cls=false,rec_batch=1,det_compile=off,rec_compile=off,"
    "det_autocast=off,rec_autocast=off"
)
_MODULES = {"torch": "torch", "transformers": "transformers", "safetensors": "safetensors"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: the device, where its files go, the data sets and the seconds of the search and the comparison."""

    device: str
    out: Path
    data: tuple[str, ...]
    budget: str

    @property
    def best(self) -> Path:
        """The config that the search writes."""
        return self.out / "run" / "best.yaml"

    def commands(self) -> dict[str, list[str]]:
        """The arguments of `tune` for each step, in order."""
        data = [part for name in self.data for part in ("--data", name)]
        best = str(self.best)
        where = ["--device", self.device, "--budget", self.budget]
        return {
            "tune": ["--engine", "ppocr", *where, *data, "--out", str(self.out / "run")],
            "compare": ["compare", UNTUNED, best, *where, *data, "--json"],
            "bench": ["bench", "--config", best, *data, "--json", "--out", str(self.out / "bench")],
        }


def missing(has_cuda: bool | None, absence: str | None, modules: Sequence[str]) -> list[str]:
    """What this machine lacks, in sentences. `has_cuda` is PyTorch's answer, None where it is not installed."""
    lacks = [f"no NVIDIA GPU can be used ({absence})"] if absence else []
    if modules:
        lacks.append(f"not installed: {', '.join(modules)}; run `pip install 'ocr-tune[torch]'`")
    if has_cuda is False:
        lacks.append("this PyTorch has no CUDA; install the build of https://pytorch.org for your driver")
    return lacks


def findings(device: str, comparison: Mapping[str, Any], bench: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Sentences on what was asked, each with whether it was met; `comparison` and `bench` are what --json printed."""
    if comparison["failure"] or not comparison["speedup"]:
        return [(f"no speed-up: {comparison['failure'] or 'too few rounds'}", False)]
    speedup = comparison["speedup"]["value"]
    busy = bench["counters"].get(f"gpu{device.partition(':')[2]}_util_pct")
    said = [
        (f"tuned against untuned: {speedup:.2f} times (asked: {ASKED_SPEEDUP:g})", speedup >= ASKED_SPEEDUP)
    ]
    if busy is None:
        reasons = "; ".join(f"{name}: {why}" for name, why in bench["counters"]["absent"].items())
        return [*said, (f"GPU utilisation could not be read ({reasons or 'no reason given'})", False)]
    mean = busy["mean"]
    sentence = (
        f"GPU utilisation: {mean:.0f} % on average, cold start included (asked: {ASKED_UTILISATION_PCT:g})"
    )
    return [*said, (sentence, mean >= ASKED_UTILISATION_PCT)]


def counters(bench: Mapping[str, Any]) -> list[str]:
    """Mean and peak of every counter, a line each."""
    seen = {name: value for name, value in bench["counters"].items() if name != "absent"}
    return [
        f"{name:24} mean {value['mean']:12.1f}  peak {value['max']:12.1f}" for name, value in seen.items()
    ]


def _cuda() -> bool | None:
    if find_spec("torch") is None:
        return None
    import torch

    return bool(torch.cuda.is_available())


def _tune(arguments: Sequence[str]) -> str:
    """Standard output of one `tune` command; its progress goes to the terminal. Ends the program where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.app", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"`tune {' '.join(arguments)}` ended with status {done.returncode}")
    return done.stdout


def main() -> int:
    """0 where all that is asked is met, 1 where it is not, 2 where something is missing here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--budget", default="30m")
    given = parser.parse_args()
    lacks = missing(_cuda(), nvml.absence(), [name for name in _MODULES if find_spec(name) is None])
    if lacks:
        print("cannot measure here: " + "; ".join(lacks), file=sys.stderr)
        return 2
    plan = Plan(given.device, given.out, tuple(given.data), given.budget)
    answers = {}
    for name, arguments in plan.commands().items():
        answers[name] = _tune(arguments)
        (plan.out / f"{name}.out").write_text(answers[name], encoding="utf-8")
    bench = json.loads(answers["bench"])
    print("\n".join(counters(bench)))
    found = findings(plan.device, json.loads(answers["compare"]), bench)
    for sentence, met in found:
        print(f"{'met' if met else 'NOT MET'}: {sentence}")
    return 0 if all(met for _, met in found) else 1


if __name__ == "__main__":
    sys.exit(main())
