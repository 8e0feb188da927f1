"""Generated pages: the same bytes each time, with ground truth where it says."""

import hashlib
import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import decode, load, verify
from harness.data.generated.degrade import LEVELS, Encoded
from harness.data.generated.pages import KINDS, generate
from harness.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, str], Encoded]:
    """Each kind at each level of wear."""
    return {
        (kind, level.__name__): generate(kind, number, seed=3)
        for kind in KINDS
        for number, level in enumerate(LEVELS)
    }


def gray(page: Encoded) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(page.data)).convert("L"), np.float64)


def test_another_process_draws_the_same_bytes(pages: dict[tuple[str, str], Encoded]) -> None:
    script = """
import hashlib
from harness.data.generated.pages import generate
for number in (2, 3):
    page = generate("receipt", number, seed=3)
    print(hashlib.sha256(page.data).hexdigest(), hashlib.sha256(repr(page.lines).encode()).hexdigest())
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    here = [pages["receipt", level] for level in ("poor", "photo")]
    assert ran.stdout.split() == [
        digest
        for page in here
        for digest in (
            hashlib.sha256(page.data).hexdigest(),
            hashlib.sha256(repr(page.lines).encode()).hexdigest(),
        )
    ]


def test_seeds_and_numbers_give_different_pages() -> None:
    texts = {
        tuple(line.text for line in generate("receipt", number, seed).lines)
        for number in (0, 4)
        for seed in (0, 1)
    }
    assert len(texts) == 4


def test_every_box_lies_on_its_page_and_has_ink_while_its_surroundings_have_less(
    pages: dict[tuple[str, str], Encoded],
) -> None:
    for (kind, level), page in pages.items():
        image = gray(page)
        height, width = image.shape
        contrasts = []
        for line in page.lines:
            assert line.box is not None
            xs, ys = zip(*line.box, strict=True)
            assert 0 <= min(xs) < max(xs) <= width, (kind, level, line)
            assert 0 <= min(ys) < max(ys) <= height, (kind, level, line)
            inside = image[int(min(ys)) : int(max(ys)) + 1, int(min(xs)) : int(max(xs)) + 1]
            contrasts.append(inside.std())
        assert min(contrasts) > 4 * (level != "clean"), (kind, level)
        assert np.median(contrasts) > 20, (kind, level)


def test_boxes_move_with_the_page(pages: dict[tuple[str, str], Encoded]) -> None:
    """Along the middle of a turned line there is more ink than in the gaps above and below it."""
    for level in ("scan", "photo"):
        page = pages["letter", level]
        image = gray(page)
        line = max((line for line in page.lines if line.box), key=lambda line: len(line.text))
        assert line.box is not None
        corners = np.array(line.box)
        middle = (corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2
        height = float(np.linalg.norm(corners[3] - corners[0]))
        along = np.linspace(*middle, 400)
        normal = (corners[3] - corners[0]) / height

        def darkness(offset: float) -> float:
            points = np.rint(along + offset * normal).astype(int)  # noqa: B023 - called in this round only
            return float(255 - image[points[:, 1], points[:, 0]].mean())  # noqa: B023

        core = darkness(0)
        gaps = darkness(-0.62 * height), darkness(0.62 * height)
        assert core > max(gaps) + 8, (level, core, gaps)


def test_texts_are_lines_of_words_without_stray_spaces(pages: dict[tuple[str, str], Encoded]) -> None:
    for page in pages.values():
        assert len(page.lines) > 15
        for line in page.lines:
            assert line.text == line.text.strip() != ""
            assert "\n" not in line.text
            assert "{" not in line.text


def test_columns_of_an_article_follow_each_other(pages: dict[tuple[str, str], Encoded]) -> None:
    page = pages["article", "clean"]
    width = gray(page).shape[1]
    body = [line.box[0][0] for line in page.lines[4:-1] if line.box]
    sides = [left > width / 2 for left in body]
    assert sides == sorted(sides)
    assert any(sides)
    assert not all(sides)


def test_worse_levels_look_worse(pages: dict[tuple[str, str], Encoded]) -> None:
    for kind in KINDS:
        clean = gray(pages[kind, "clean"])
        assert (clean == 255).mean() > 0.5
        assert (gray(pages[kind, "photo"]) == 255).mean() < 0.1
    formats = {level: {pages[kind, level].suffix for kind in KINDS} for _, level in pages}
    assert formats["clean"] == {".png"}
    assert formats["scan"] == formats["photo"] == {".jpg"}


def test_pages_have_the_size_of_paper(pages: dict[tuple[str, str], Encoded]) -> None:
    assert gray(pages["letter", "clean"]).shape in {(1754, 1240), (2339, 1654)}
    height, width = gray(pages["receipt", "clean"]).shape
    assert width in {472, 630}
    assert height > width


def test_the_default_set_is_drawn_once_and_loads_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.data.generated.PAGES_PER_KIND", 1)
    (data,) = load(["generated"], cache=tmp_path)
    (folder,) = (tmp_path / "sets").iterdir()
    assert len(data.pages) == len({page.document for page in data.pages}) == len(KINDS)
    assert data.profile == "default"
    assert data.licence == "Apache-2.0"
    assert data.pages[0].id == "generated/letter-clean-1"
    assert data.pages[0].text == "\n".join(line.text for line in data.pages[0].boxes)
    assert decode(data.pages[0]).shape[2] == 3
    assert verify("generated", cache=tmp_path) == []
    made = folder.stat().st_mtime_ns
    assert load(["generated"], cache=tmp_path) == (data,)
    assert folder.stat().st_mtime_ns == made
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["language"] for entry in manifest} == {"en"}


def test_a_run_that_is_killed_leaves_no_half_made_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.data.generated.pages.generate", killed)
    with pytest.raises(KeyboardInterrupt):
        load(["generated"], cache=tmp_path)
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_user_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="OCR_TUNE_CACHE"):
        load(["generated"], cache=tmp_path / "file")
