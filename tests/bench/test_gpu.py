import subprocess
import sys
from pathlib import Path

import pytest

from engines.interface import Gpu, Machine
from engines.ppocr.knobs import knobs
from harness import nvml
from harness.space import parse_settings
from tests.bench.gpu import UNTUNED, Plan, counters, findings, missing

GPU = Machine("test", 8, 65536, gpus=(Gpu(0, "test", 81920, "570"),))


def comparison(speedup: float) -> dict[str, object]:
    return {"failure": None, "speedup": {"value": speedup, "ci95": None}}


def bench(utilisation: float | None) -> dict[str, dict[str, object]]:
    seen = {} if utilisation is None else {"gpu0_util_pct": {"mean": utilisation, "max": 100.0}}
    return {"counters": {**seen, "absent": {} if seen else {"gpu0_util_pct": "no permission"}}}


def test_the_untuned_side_is_possible_on_a_gpu() -> None:
    by_name = {knob.name: knob for knob in knobs(GPU)}
    settings = parse_settings(UNTUNED.partition(":")[2].split(","), by_name, "ppocr")
    assert all(by_name[name].domain.admits(value) for name, value in settings.items())
    assert settings["rec_batch"] == 1


def test_the_steps_follow_one_another() -> None:
    plan = Plan("cuda:1", Path("out"), ("pages", "more"), "5m")
    steps = plan.commands()
    assert list(steps) == ["tune", "compare", "bench"]
    for arguments in steps.values():
        assert [arguments[i + 1] for i, word in enumerate(arguments) if word == "--data"] == ["pages", "more"]
    written = Path(steps["tune"][steps["tune"].index("--out") + 1]) / "best.yaml"
    assert str(written) in steps["compare"]
    assert str(written) in steps["bench"]
    assert steps["tune"][steps["tune"].index("--device") + 1] == "cuda:1"


@pytest.mark.parametrize(
    ("speedup", "utilisation", "met"),
    [
        (8.0, 85.0, [True, True]),
        (7.9, 90.0, [False, True]),
        (9.0, 84.9, [True, False]),
        (9.0, None, [True, False]),
    ],
)
def test_what_is_asked_is_held_against_what_was_found(
    speedup: float, utilisation: float | None, met: list[bool]
) -> None:
    assert [ok for _, ok in findings("cuda:0", comparison(speedup), bench(utilisation))] == met


def test_a_side_that_failed_meets_nothing() -> None:
    failed = {"failure": "A: out of memory", "speedup": None}
    assert findings("cuda:0", failed, bench(99.0)) == [("no speed-up: A: out of memory", False)]


def test_counters_are_listed_with_their_peaks() -> None:
    (line,) = counters(bench(91.0))
    assert line.split() == ["gpu0_util_pct", "mean", "91.0", "peak", "100.0"]


def test_all_that_is_missing_is_said_at_once() -> None:
    assert missing(True, None, []) == []
    said = missing(False, "NVML: no driver", ["transformers"])
    assert all(
        words in each for words, each in zip(("no driver", "transformers", "no CUDA"), said, strict=True)
    )


def test_a_machine_without_a_gpu_is_told_so() -> None:
    if nvml.absence() is None:
        pytest.skip("this machine has a GPU")
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench.gpu"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "cannot measure here: no NVIDIA GPU can be used" in ran.stderr
