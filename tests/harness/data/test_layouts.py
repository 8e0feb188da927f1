"""Ground truth of public sets in their official formats."""

import json
from pathlib import Path

import pytest

from engines.interface import Line
from harness.data.layouts import funsd, omnidocbench, omnidocbench_images, pages_of, quads, visual_lines
from harness.data.refs import box


def test_words_on_one_line_are_joined_from_left_to_right() -> None:
    parts = [
        Line("right", box((60, 11, 90, 21))),
        Line("below", box((10, 40, 50, 50))),
        Line("left", box((10, 10, 50, 20))),
    ]
    lines = visual_lines(parts)
    assert [line.text for line in lines] == ["left right", "below"]
    assert lines[0].box == ((10, 10), (90, 10), (90, 21), (10, 21))


def test_a_tall_heading_does_not_swallow_the_small_lines_beside_it() -> None:
    parts = [
        Line("LOGO", box((0, 0, 100, 60))),
        Line("street", box((120, 5, 200, 15))),
        Line("city", box((120, 45, 200, 55))),
    ]
    assert [line.text for line in visual_lines(parts)] == ["street", "LOGO", "city"]


def test_funsd_words_become_lines_across_blocks() -> None:
    annotation = {
        "form": [
            {
                "box": [84, 109, 136, 119],
                "text": "COMPOUND",
                "label": "question",
                "words": [{"box": [84, 109, 136, 119], "text": "COMPOUND"}],
                "linking": [[0, 37]],
                "id": 0,
            },
            {
                "box": [147, 108, 229, 135],
                "text": "Fax 12-7 Note",
                "label": "answer",
                "words": [
                    {"box": [147, 108, 170, 119], "text": "Fax"},
                    {"box": [175, 108, 229, 119], "text": "12-7"},
                    {"box": [147, 125, 180, 135], "text": "Note"},
                    {"box": [190, 125, 199, 135], "text": ""},
                ],
                "linking": [],
                "id": 37,
            },
        ]
    }
    assert [line.text for line in funsd(annotation)] == ["COMPOUND Fax 12-7", "Note"]


def test_sroie_transcripts_keep_their_commas() -> None:
    text = (
        "72,25,326,25,326,64,72,64,TAN WOON YANN\n"
        "50,82,440,82,440,121,50,121,NO.53 55,57 & 59, JALAN SAGU 18,\n"
        "\n"
        "205,121,285,121,285,139,205,139,81100 JOHOR BAHRU\n"
    )
    assert [line.text for line in quads(text)] == [
        "TAN WOON YANN",
        "NO.53 55,57 & 59, JALAN SAGU 18,",
        "81100 JOHOR BAHRU",
    ]


def test_icdar2015_leaves_out_what_nobody_could_read() -> None:
    text = (
        "\ufeff377,117,463,117,465,130,378,130,Genaxis Theatre\r\n"
        "493,115,519,115,519,131,493,131,[06]\r\n"
        "374,155,409,155,409,170,374,170,###\r\n"
    )
    assert [line.text for line in quads(text)] == ["Genaxis Theatre [06]"]


def block(kind: str, y: float, order: int | None, text: str = "", **more: object) -> dict[str, object]:
    poly = [10.0, y, 90.0, y, 90.0, y + 8, 10.0, y + 8]
    return {"category_type": kind, "poly": poly, "ignore": False, "order": order, "text": text, **more}


def omnidocbench_page(
    *blocks: dict[str, object], name: str = "a.jpg", language: str = "english"
) -> dict[str, object]:
    info = {"page_no": 0, "height": 200, "width": 100, "image_path": name}
    return {
        "layout_dets": list(blocks),
        "page_info": {**info, "page_attribute": {"language": language}},
        "extra": {"relation": []},
    }


def test_omnidocbench_blocks_come_in_reading_order_with_heads_first_and_feet_last() -> None:
    page = omnidocbench_page(
        block("page_number", 190, None, "7"),
        block("text_block", 120, 3, "Second."),
        block("header", 2, None, "Journal"),
        block("title", 20, 1, "Title"),
        block("text_block", 40, 2, "First."),
        block("abandon", 60, None, "smudge", ignore=True),
        block("figure", 80, 4),
        block(
            "table", 150, 5, html="<table><tr><td>a</td><td>b &amp; c</td></tr><tr><td>1</td></tr></table>"
        ),
    )
    lines = omnidocbench(page)
    assert lines is not None
    assert [line.text for line in lines] == ["Journal", "Title", "First.", "Second.", "a b & c\n1", "7"]


def test_omnidocbench_pages_with_formulas_are_left_out() -> None:
    span = {"category_type": "equation_inline", "poly": [0.0] * 8, "latex": "$x$"}
    assert omnidocbench(omnidocbench_page(block("equation_isolated", 9, 1, latex="$$x$$"))) is None
    assert omnidocbench(omnidocbench_page(block("text_block", 9, 1, "x", line_with_spans=[span]))) is None


def test_unpacked_downloads_are_walked_with_their_images(tmp_path: Path) -> None:
    for part, content in (
        ("f/dataset/training_data/annotations/1.json", json.dumps({"form": []})),
        ("f/dataset/training_data/images/1.png", ""),
        ("f/dataset/training_data/annotations/2.json", json.dumps({"form": []})),
        ("s/annotations/X1.txt", "0,0,9,0,9,9,0,9,CAFÉ\n"),
        ("s/images/X1.jpg", ""),
        ("i/0/img_1.jpg", ""),
        ("i/1/gt_img_1.txt", "\ufeff0,0,9,0,9,9,0,9,Exit\n"),
        ("o/images/a.jpg", ""),
        (
            "o/OmniDocBench.json",
            json.dumps([omnidocbench_page(block("title", 1, 1, "题"), language="en_ch_mixed")]),
        ),
    ):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).write_text(content, encoding="utf-8")
    (tmp_path / "s/annotations/X2.txt").write_bytes("0,0,9,0,9,9,0,9,Ä\n".encode("latin-1"))
    (tmp_path / "s/images/X2.jpg").touch()
    assert [page.id for page in pages_of("funsd", tmp_path / "f")] == ["1"]
    assert [page.lines[0].text for page in pages_of("sroie", tmp_path / "s")] == ["CAFÉ", "Ä"]
    assert [page.lines[0].text for page in pages_of("icdar2015", tmp_path / "i")] == ["Exit"]
    assert [(page.language, page.profile) for page in pages_of("omnidocbench", tmp_path / "o")] == [
        ("mul", "cjk")
    ]
    assert omnidocbench_images(tmp_path / "o") == ("a.jpg",)


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/a.jpg", "..", "a\\b.jpg"])
def test_image_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    page = omnidocbench_page(block("title", 1, 1, "x"), name=name)
    (tmp_path / "OmniDocBench.json").write_text(json.dumps([page]))
    with pytest.raises(ValueError, match="not a file name"):
        omnidocbench_images(tmp_path)
