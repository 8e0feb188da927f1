"""`tune profile` as a user types it, on the real engine."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import profiler
from tests.engines.support import INVOICE, LETTER, drawn
from tests.harness.cli.test_commands import tune
from tests.pages import page_set

SMALL = ["--set", "det_model=v6_tiny", "--set", "rec_model=v6_tiny", "--set", "use_cls=false"]


def scans(folder: Path) -> Path:
    folder.mkdir()
    for name, lines in (("letter", LETTER), ("invoice", INVOICE)):
        Image.fromarray(drawn(name, *lines).pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def test_a_profile_of_the_real_engine_is_a_folder_of_pages_that_open_offline(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = tune("profile", *SMALL, "--data", scans(tmp_path / "scans"), "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["stage_ms"][0]) >= {"preprocess", "detect", "recognise"}
    assert len(found["stage_ms"]) == 2
    page = (out / "index.html").read_text()
    links = re.findall(r'href="([^"#]+)"', page)
    assert {"flame.html", "flame.speedscope.json", "layers.csv", "profile.json"} <= set(links)
    assert all((out / link).is_file() for link in links)
    with (out / "layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["total_ms"]) for row in rows) == pytest.approx(
        sum(layer["total_ms"] for layer in found["layers"]), abs=0.1
    )
    assert float(rows[0]["total_ms"]) >= float(rows[-1]["total_ms"])
    flame = (out / "flame.html").read_text()
    assert set(re.findall(r"https?://[\w.]+", flame)) <= {"http://www.w3.org"}
    frames = json.loads((out / "flame.speedscope.json").read_text())["shared"]["frames"]
    assert any("engines/ppocr" in frame["file"] for frame in frames)


def test_a_profile_is_made_again_in_its_place_and_nothing_else_is_touched(
    tmp_path: Path, scripted: str
) -> None:
    page_set(tmp_path / "pages", 3)
    pages, out = str(tmp_path / "pages"), str(tmp_path / "out")
    arguments = ["profile", "--engine", scripted, "--data", pages, "--out", out]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for _ in range(2):
        done = tune(*arguments)
        assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "scripted with these settings keeps no table of its layers" in page
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_a_folder_with_files_of_the_same_names_is_refused_and_kept(tmp_path: Path, scripted: str) -> None:
    page_set(tmp_path / "pages", 3)
    mine = tmp_path / "out" / "torch" / "model.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = tune(
        "profile", "--engine", scripted, "--data", str(tmp_path / "pages"), "--out", str(tmp_path / "out")
    )
    assert done.returncode == 2
    assert "holds torch, which no profile has left there; choose another folder" in done.stderr
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("fault", "says"), [("segfault", "ended with status -11"), ("unsupported", "choose fault=none")]
)
def test_an_engine_that_dies_is_a_failure_with_its_last_lines(tmp_path: Path, fault: str, says: str) -> None:
    page_set(tmp_path / "pages", 3)
    done = tune(
        "profile",
        "--engine",
        "scripted",
        "--set",
        f"fault={fault}",
        "--data",
        tmp_path / "pages",
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    done = tune("profile", tmp_path)
    assert done.returncode == 2
    assert "not a run folder" in done.stderr


def test_what_runs_in_pytorch_leaves_a_trace_that_tensorboard_reads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    data = pytest.importorskip("torch_tb_profiler.profiler.data", reason="torch-tb-profiler is not installed")

    class Multiplies:
        def read(self, pages: object) -> list[object]:
            del pages
            torch.from_numpy(np.ones((64, 64), np.float32)) @ torch.ones(64, 64)
            return []

    assert profiler._torch_side(Multiplies(), [], tmp_path) is None  # type: ignore[arg-type]
    (trace,) = (tmp_path / profiler.TORCH).iterdir()
    assert trace.name.endswith(".pt.trace.json")
    parsed = data.RunProfileData.parse("ocr-tune", None, str(trace), str(tmp_path))
    assert any("aten::mm" in event.name for event in parsed.events if getattr(event, "name", None))
