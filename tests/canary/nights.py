"""Nights of `tune check` on PP-OCR with planted faults: does the gate find each, and pass what is unchanged?

    python tests/canary/nights.py --data scans/ --nights 10 --budget 5m --out nights.jsonl

Prints a line a night and a table at the end. A night that `--out` holds already is not run again. Exits 1 where a
verdict was wrong, or more than one night of a kind was inconclusive.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAULTS: dict[str, dict[str, float]] = {
    "unchanged": {},
    "slowed by 8 %": {"slowdown_pct": 8},
    "2 % of lines dropped": {"drop_lines_pct": 2.0},
    "0.5 % of characters swapped": {"swap_characters_pct": 0.5},
}
VERDICTS = {0: "pass", 1: "regression", 3: "inconclusive"}


@dataclass(frozen=True, slots=True)
class Night:
    fault: str
    night: int
    verdict: str
    """One of `VERDICTS`."""
    wall_s: float
    """Of the whole command."""
    rounds: int
    pages: int
    not_passed: dict[str, str]
    """The outcome of each metric that did not pass."""

    @property
    def is_wrong(self) -> bool:
        right = "regression" if FAULTS[self.fault] else "pass"
        return self.verdict not in (right, "inconclusive")


def run(fault: str, night: int, data: list[str], budget: str) -> Night:
    """One check of the pinned config beside the same with `fault`, which hits other lines every night.

    Raises RuntimeError where the check gave no verdict.
    """
    pinned = yaml.safe_load((HERE / "pinned.yaml").read_text(encoding="utf-8"))
    planted = FAULTS[fault]
    settings = {**pinned["settings"], **planted, **({"fault_seed": night} if planted else {})}
    with tempfile.TemporaryDirectory() as scratch:
        current = Path(scratch) / "current.yaml"
        current.write_text(json.dumps({**pinned, "settings": settings}), encoding="utf-8")
        command = [sys.executable, "-c", "from harness.cli.app import main; main()", "check", "--json"]
        command += ["--baseline", str(HERE / "pinned.yaml"), "--config", str(current)]
        command += ["--budget", budget, "--seed", str(night)]
        command += [argument for name in data for argument in ("--data", name)]
        path = os.pathsep.join([str(ROOT), str(HERE)])
        began = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
        )
        wall_s = time.perf_counter() - began
    if done.returncode not in VERDICTS or not done.stdout:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    outcomes = {name: metric["outcome"] for name, metric in found["metrics"].items()}
    return Night(
        fault,
        night,
        VERDICTS[done.returncode],
        round(wall_s, 1),
        found["rounds"],
        found["pages"],
        {name: outcome for name, outcome in outcomes.items() if outcome != "pass"},
    )


def table(nights: list[Night]) -> Iterator[str]:
    """A row a fault: how often each verdict was given and what the longest night took."""
    heads = ("nights", "pass", "regression", "inconclusive", "wrong", "longest (s)")
    yield f"{'fault':<28}" + "".join(f"{head:>13}" for head in heads)
    for fault in FAULTS:
        of = [night for night in nights if night.fault == fault]
        counts = {verdict: sum(n.verdict == verdict for n in of) for verdict in VERDICTS.values()}
        cells = (
            len(of),
            *counts.values(),
            sum(n.is_wrong for n in of),
            max((n.wall_s for n in of), default=0),
        )
        yield f"{fault:<28}" + "".join(f"{cell:>13.0f}" for cell in cells)


def is_sound(nights: list[Night]) -> bool:
    """Whether no verdict was wrong and at most one night of each fault inconclusive."""
    doubtful = [night.fault for night in nights if night.verdict == "inconclusive"]
    return not any(night.is_wrong for night in nights) and all(doubtful.count(f) <= 1 for f in FAULTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="data set or path; several times")
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--budget", default="5m", help="of each night")
    parser.add_argument("--out", type=Path, default=Path("nights.jsonl"))
    chosen = parser.parse_args()
    lines = chosen.out.read_text(encoding="utf-8").splitlines() if chosen.out.exists() else []
    nights = [Night(**json.loads(line)) for line in lines]
    done = {(night.fault, night.night) for night in nights}
    # Faults by turns, so that an hour of noise hits all of them alike.
    for number in range(chosen.nights):
        for fault in FAULTS:
            if (fault, number) in done:
                continue
            nights.append(run(fault, number, chosen.data, chosen.budget))
            with chosen.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(nights[-1])) + "\n")
            print(json.dumps(asdict(nights[-1])), flush=True)
    print("\n".join(table(nights)))
    return 0 if is_sound(nights) else 1


if __name__ == "__main__":
    sys.exit(main())
