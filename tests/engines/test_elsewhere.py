"""The suite for all engines, run by the interpreters that `ocr-tune.toml` in this folder gives to some of them."""

import os
import subprocess

import pytest

from harness import environments
from tests.engines.support import ROOT

PYTHONS = {name: entry.python for name, entry in environments.user_config().engines.items()}
NEEDS = ("pytest", "pytest-timeout", "pytest-benchmark")


@pytest.mark.skipif(not PYTHONS, reason="ocr-tune.toml gives no engine an interpreter of its own")
@pytest.mark.parametrize("name", sorted(PYTHONS))
def test_an_engine_in_an_environment_of_its_own_passes_the_suite_there(name: str) -> None:
    python = str(PYTHONS[name])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    modules = ", ".join(need.replace("-", "_") for need in NEEDS)
    if subprocess.run([python, "-c", f"import {modules}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{name}: its environment lacks pytest; run `{python} -m pip install {' '.join(NEEDS)}`")
    suite = [
        python,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "tests/engines/test_conformance.py",
        "-k",
        name,
    ]
    done = subprocess.run(suite, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
