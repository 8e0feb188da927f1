"""Compile matrices of an engine that does what its models are called, in processes of its own."""

import json
import os
import venv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness import compile_matrix as matrices
from harness import environments
from harness.cli.app import run
from harness.cli.compile_matrix import markdown
from harness.compile_matrix import Matrix, Row
from harness.errors import UserError

ENGINE = """
import os, time
from pathlib import Path

def summary(): return "Compiles nothing at all; Apache-2.0."
def packages(): return ()
def unusable(machine): return None
def knobs(machine): return ()
def compile_models(): return ["part/works", "part/breaks", "part/crashes"]
def compile_facts(model, device):
    count = Path(__file__).with_name("calls")
    count.write_text((count.read_text() if count.exists() else "") + model + "\\n")
    yield {"published_compiles": True, "published_fullgraph": None, "weights": "random", "device": device}
    name = model.partition("/")[2]
    if name == "crashes":
        os.abort()
    if name == "hangs":
        if os.fork() == 0:
            time.sleep(600)
        Path(__file__).with_name("hung").write_text(str(os.getpid()))
        time.sleep(600)
    if name == "breaks":
        yield {"compiles": False, "reason": "Unsupported: a | b"}
        return
    yield {"compiles": True, "eager_ms": 12.0, "steady_ms": 8.0, "cold_s": 3.0, "graph_breaks": 0}
    print("a library that chatters")
    yield {"fullgraph": True, "difference": 2e-6, "tolerance": 1e-4, "equal": True}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The packages of another environment, which has the engine; returns where they lie."""
    home = tmp_path / "other"
    venv.create(home, symlinks=True)
    (site,) = (home / "lib").glob("python*/site-packages")
    for name in ("numpy", "numpy.libs"):
        if (found := Path(np.__file__).parents[1] / name).exists():
            (site / name).symlink_to(found)
    info = site / "compiling-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: compiling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ocr_tune.engines]\ncompiling = compiling_engine\n")
    (site / "compiling_engine.py").write_text(ENGINE)
    monkeypatch.chdir(tmp_path)
    environments.user_config.cache_clear()
    python = home / "bin" / "python"
    Path("ocr-tune.toml").write_text(f"[engines.compiling]\npython = {str(python)!r}\n")
    yield site
    environments.user_config.cache_clear()


def test_a_model_that_works_has_its_facts(site: Path) -> None:
    assert matrices.models("compiling") == ("part/works", "part/breaks", "part/crashes")
    row = matrices.measure("compiling", "part/works", "cpu", 60)
    assert row.failure is None
    assert row.facts["equal"] is True
    assert row.facts["device"] == "cpu"
    assert row.facts["eager_ms"] == 12.0


def test_a_crash_keeps_what_was_found_before_it(site: Path) -> None:
    row = matrices.measure("compiling", "part/crashes", "cpu", 60)
    assert row.failure is not None
    assert row.failure.startswith("ended with -6: ")
    assert row.facts["weights"] == "random"


def test_what_hangs_is_ended_with_all_its_processes(site: Path) -> None:
    row = matrices.measure("compiling", "part/hangs", "cpu", 1.5)
    assert row.failure == "took longer than 1.5 s"
    hung = site / "hung"
    if hung.exists():  # a machine that is busy may not have come so far
        group = int(hung.read_text())
        _, alive = psutil.wait_procs(_members(group), timeout=10)
        assert not alive


def _members(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group:
                found.append(process)
    return found


def test_the_command_goes_on_where_it_was_interrupted(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["engines", "compiling", "--compile-matrix", "--out", "matrix"]
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in document["rows"]] == list(matrices.models("compiling"))
    assert [bool(row["failure"]) for row in document["rows"]] == [False, False, True]
    (site / "calls").unlink()
    assert run(command) == 0
    assert (site / "calls").read_text().split() == ["part/crashes"]
    shown = capsys.readouterr().out
    assert "part/works" in shown
    assert "ended with -6" in shown
    assert (
        "| part/works | yes (yes) | yes (-) | yes (2.0e-06 of 1e-04) |"
        in Path("matrix/matrix.md").read_text()
    )


def test_rows_of_another_version_are_not_mixed_in(site: Path) -> None:
    other = Matrix("compiling", "cpu", "another machine", {"torch": "0"}, (Row("part/works"),))
    Path("matrix").mkdir()
    matrices.save(Path("matrix/matrix.json"), other)
    assert run(["engines", "compiling", "--compile-matrix", "--out", "matrix"]) == 2
    assert matrices.saved(Path("matrix/matrix.json")) == other


def test_an_engine_without_models_and_a_file_that_is_no_matrix_are_refused(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engines", "rapidocr", "--compile-matrix"]) == 2
    assert "measures no compile matrix" in capsys.readouterr().err
    assert run(["engines", "--compile-matrix"]) == 2
    Path("matrix").mkdir()
    Path("matrix/matrix.json").write_text('{"engine": 1}')
    with pytest.raises(UserError, match="is not a compile matrix"):
        matrices.saved(Path("matrix/matrix.json"))


def test_bars_and_line_ends_do_not_break_the_table() -> None:
    row = Row("part/breaks", {"compiles": False, "reason": "a | b\nc"})
    text = markdown(Matrix("doctr", "cpu", "here", {"torch": "2"}, (row,)))
    assert text.splitlines()[-1].endswith("| a \\| b c |")
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines()[2:]}) == 1
