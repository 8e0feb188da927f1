"""Folders, files and named sets become pages with ground truth."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from harness.data import DataSet, PageRef, decode, fetch, load, named_sets, verify
from harness.data.rules import page_profile, usual_profile
from harness.errors import UserError

Picture = Callable[[Path], Path]
Pdf = Callable[..., bytes]


def one(path: Path, **options: str) -> DataSet:
    (data,) = load([str(path)], **options)  # type: ignore[arg-type]
    return data


def write_manifest(folder: Path, *pages: dict[str, object], **top: object) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"pages": pages, **top} if top else list(pages)
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_images_with_text_beside_them_are_pages(tmp_path: Path, picture: Picture) -> None:
    for name in ("b", "a", "sub/c"):
        picture(tmp_path / f"{name}.png").with_suffix(".txt").write_text(
            f"text of {name} ä", encoding="utf-8"
        )
    (tmp_path / "notes.md").write_text("not a page")
    picture(tmp_path / ".hidden" / "d.png")
    data = one(tmp_path)
    assert [(page.id, page.text) for page in data.pages] == [
        (f"{tmp_path.name}/a", "text of a ä"),
        (f"{tmp_path.name}/b", "text of b ä"),
        (f"{tmp_path.name}/sub/c", "text of sub/c ä"),
    ]
    assert data.skipped == ()
    assert data.profile == "default"


def test_a_page_without_text_among_pages_with_it_is_reported(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png").with_suffix(".txt").write_text("text")
    picture(tmp_path / "b.png")
    data = one(tmp_path)
    assert [page.id for page in data.pages] == [f"{tmp_path.name}/a"]
    assert data.skipped == (("b", "it has no ground truth, other pages of the set do"),)


def test_a_set_without_any_text_is_used_without(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    data = one(tmp_path)
    assert [page.text for page in data.pages] == [None, None]
    assert data.skipped == ()


def test_unreadable_pages_are_reported_and_the_others_used(tmp_path: Path, picture: Picture) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png").with_suffix(".txt").write_text("text")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xfa")
    data = one(tmp_path)
    assert [page.id.split("/")[1] for page in data.pages] == ["a"]
    reasons = dict(data.skipped)
    assert "empty" in reasons["b"]
    assert "UTF-8" in reasons["c"]


def test_a_folder_without_pages_and_one_without_usable_pages_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no pages"):
        load([str(tmp_path)])
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(UserError, match=r"no page of .* can be used.*a\.png"):
        load([str(tmp_path)])


def test_unknown_names_and_paths_are_errors_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'generated'"):
        load(["generate"])
    with pytest.raises(UserError, match="does not exist"):
        load([str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="did you mean 'historic'"):
        load([str(tmp_path)], profile="historical")
    with pytest.raises(UserError, match="tune data fetch funsd"):
        load(["funsd"], cache=tmp_path)
    with pytest.raises(UserError, match="unknown data set 'fun'"):
        fetch("fun", cache=tmp_path)
    with pytest.raises(UserError, match="needs no fetching"):
        fetch("generated", cache=tmp_path)


def test_equal_folder_names_get_different_page_ids(tmp_path: Path, picture: Picture) -> None:
    for place in ("x", "y"):
        picture(tmp_path / place / "scans" / "a.png")
    sets = load([str(tmp_path / "x" / "scans"), str(tmp_path / "y" / "scans")])
    ids = [page.id for data in sets for page in data.pages]
    assert ids == ["scans/a", "scans~2/a"]


def test_images_of_one_name_and_two_kinds_get_different_page_ids(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.tif")
    assert [page.id.split("/")[1] for page in one(tmp_path).pages] == ["a.png", "a.tif"]


def test_pages_of_a_tiff_take_their_texts_from_between_form_feeds(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 9), 80 * n) for n in range(3)]
    frames[0].save(tmp_path / "book.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "book.txt").write_text("one\ftwo\fthree\f")
    data = one(tmp_path / "book.tif")
    assert [(page.id, page.text) for page in data.pages] == [
        ("book.tif/book#1", "one"),
        ("book.tif/book#2", "two"),
        ("book.tif/book#3", "three"),
    ]
    assert [int(decode(page)[0, 0, 0]) for page in data.pages] == [0, 80, 160]
    (tmp_path / "book.txt").write_text("\ftwo\fthree\f")
    assert [page.text for page in one(tmp_path / "book.tif").pages] == ["", "two", "three"]
    (tmp_path / "book.txt").write_text("one\ftwo")
    with pytest.raises(UserError, match="form feed"):
        one(tmp_path / "book.tif")


def test_the_text_layer_of_a_pdf_is_its_ground_truth_unless_a_text_lies_beside_it(
    tmp_path: Path, pdf: Pdf
) -> None:
    path = tmp_path / "letter.pdf"
    path.write_bytes(pdf(["Dear reader", "", "Yours"]))
    data = one(path)
    assert [page.text for page in data.pages] == ["Dear reader", "Yours"]
    assert [page.page_index for page in data.pages] == [0, 2]
    assert [page for page, _ in data.skipped] == ["letter#2"]
    path.write_bytes(pdf(["Dear reader"]))
    path.with_suffix(".txt").write_text("Corrected")
    assert [page.text for page in one(path).pages] == ["Corrected"]


def test_manifests_name_files_languages_profiles_boxes_and_documents(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("p1", "p2", "p3"):
        picture(tmp_path / f"{name}.png").with_suffix(".txt").write_text(f"Text {name}")
    (tmp_path / "b.json").write_text(
        json.dumps(
            [
                {"text": "Text p1", "box": [1, 2, 30, 12]},
                {"text": "x", "box": [[0, 0], [9, 1], [9, 5], [0, 4]]},
            ]
        )
    )
    write_manifest(
        tmp_path,
        {"id": "one", "image": "p1.png", "text": "p1.txt", "boxes": "b.json", "language": "zh", "book": "A"},
        {
            "id": "two",
            "image": "p2.png",
            "text": "p2.txt",
            "boxes": None,
            "profile": "strict",
            "document": "B",
        },
        {"id": "three", "image": "p3.png", "text": "p3.txt", "chars": 7, "words": 2, "document": "B"},
        licence="CC0-1.0",
    )
    data = one(tmp_path)
    assert [page.profile for page in data.pages] == ["cjk", "strict", "default"]
    assert [page.document.split("/")[1] for page in data.pages] == ["A", "B", "B"]
    assert data.licence == "CC0-1.0"
    first, second = data.pages[0].boxes
    assert first.box == ((1.0, 2.0), (30.0, 2.0), (30.0, 12.0), (1.0, 12.0))
    assert second.box == ((0.0, 0.0), (9.0, 1.0), (9.0, 5.0), (0.0, 4.0))
    assert {page.profile for page in one(tmp_path, profile="loose").pages} == {"loose"}
    write_manifest(tmp_path, {"id": "one", "image": "p1.png", "text": "p1.txt"}, profile="historic")
    assert one(tmp_path).profile == "historic"


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ({"id": "a", "image": "../a.png"}, "inside the folder"),
        ({"id": "a", "image": "/etc/passwd"}, "inside the folder"),
        ({"id": "a", "image": "a.png", "text": "x/../../secret.txt"}, "inside the folder"),
        ({"id": "a", "image": "C:\\a.png"}, "inside the folder"),
        ({"id": "a", "image": "link.png"}, "leads out of the folder"),
        ({"id": "a", "image": 7}, "0.image"),
        ({"id": "a"}, "0.image"),
        ({"id": "a\nb", "image": "a.png"}, "0.id"),
        ({"id": "a", "image": "a.png", "profile": "fancy"}, "0.profile"),
        ({"id": "a", "image": "a.png", "dpi": 1_000_000}, "0.dpi"),
    ],
)
def test_hostile_manifests_are_refused_with_the_place_of_the_fault(
    tmp_path: Path, picture: Picture, page: dict[str, object], says: str
) -> None:
    picture(tmp_path / "outside.png")
    folder = write_manifest(tmp_path / "set", page)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(UserError, match=says) as caught:
        load([str(folder)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', "[" * 100_000, '{"pages": 3}', "[]"])
def test_manifests_that_are_no_manifests_are_user_errors(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        load([str(tmp_path)])


def test_two_pages_of_one_id_are_refused(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png")
    write_manifest(tmp_path, {"id": "a", "image": "a.png"}, {"id": "a", "image": "a.png"})
    with pytest.raises(UserError, match="two pages have the id 'a'"):
        load([str(tmp_path)])


@pytest.mark.parametrize(
    "boxes", ["[", '[{"text": "a"}]', '[{"text": "a", "box": [1, 2]}]', "7", "[" * 100_000]
)
def test_boxes_that_are_no_boxes_leave_out_their_page(tmp_path: Path, picture: Picture, boxes: str) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "b.boxes.json").write_text(boxes)
    data = one(tmp_path)
    assert [page.id.split("/")[1] for page in data.pages] == ["a"]
    assert "b.boxes.json" in data.skipped[0][1]


def test_documents_are_names_without_page_numbers(tmp_path: Path, picture: Picture) -> None:
    for name in ("debfaq_ru_p011", "debfaq_ru_p013", "Grenzboten_179396", "045", "step2", "map"):
        picture(tmp_path / f"{name}.png")
    documents = {page.id.split("/")[1]: page.document.split("/")[1] for page in one(tmp_path).pages}
    assert documents == {
        "debfaq_ru_p011": "debfaq_ru",
        "debfaq_ru_p013": "debfaq_ru",
        "Grenzboten_179396": "Grenzboten",
        "045": "045",
        "step2": "step",
        "map": "map",
    }


def test_names_that_would_make_one_document_of_a_set_make_none(tmp_path: Path, picture: Picture) -> None:
    for number in range(3):
        picture(tmp_path / f"IMG_{number:04}.png")
    assert len({page.document for page in one(tmp_path).pages}) == 3


def test_the_hash_follows_pixels_and_texts_and_nothing_else(tmp_path: Path, picture: Picture) -> None:
    for place in ("x", "y"):
        picture(tmp_path / place / "a.png").with_suffix(".txt").write_text("text")
    same = one(tmp_path / "x").sha256
    assert one(tmp_path / "y").sha256 == same
    (tmp_path / "y" / "a.txt").write_text("texts")
    assert one(tmp_path / "y").sha256 != same
    Image.new("L", (32, 16), 201).save(tmp_path / "x" / "a.png")
    assert one(tmp_path / "x").sha256 != same


def test_references_survive_json(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a.png").with_suffix(".txt").write_text("text")
    (tmp_path / "a.boxes.json").write_text('[{"text": "text", "box": [1, 2, 3, 4]}]')
    (page,) = one(tmp_path).pages
    assert PageRef.from_json(json.loads(json.dumps(page.to_json()))) == page


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("A letter with some Capitals.", "default"),
        ("TOTAL AMOUNT 12.00 RM CASH", "loose"),
        ("Wach\u017ftube", "historic"),
        ("", "default"),
        ("12.50 30", "default"),
    ],
)
def test_the_usual_profile_follows_the_ground_truth(text: str, profile: str) -> None:
    assert usual_profile([text]) == profile


def test_chinese_and_japanese_pages_are_compared_without_spaces() -> None:
    assert page_profile("zh", "x") == page_profile("ja-JP", "x") == "cjk"
    assert page_profile("", "これは日本語です。OK") == "cjk"
    assert page_profile("", "plain") is None
    assert page_profile("ru", "Это") is None


def test_verify_names_changed_missing_and_broken_files(tmp_path: Path, picture: Picture) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png").with_suffix(".txt").write_text("text")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:45])
    write_manifest(
        tmp_path,
        {"id": "a", "image": "a.png", "text": "a.txt", "sha256": "0" * 64},
        {"id": "b", "image": "b.png"},
        {"id": "c", "image": "c.png", "text": "c.txt"},
        {"id": "d", "image": "d.png", "text": "d.txt"},
        {"id": "e", "image": "b.png", "text": "e.txt"},
    )
    changed, bare, broken, missing, textless = verify(str(tmp_path))
    assert "sha256 differs" in changed
    assert "no ground truth" in bare
    assert "c.png" in broken
    assert "d.png" in missing
    assert "e.txt" in textless


def test_named_sets_say_what_needs_fetching(tmp_path: Path) -> None:
    sets = {entry.name: entry for entry in named_sets(cache=tmp_path)}
    assert list(sets) == ["generated", "funsd", "sroie", "icdar2015", "omnidocbench"]
    assert [name for name, entry in sets.items() if entry.ready] == ["generated"]
    assert all(entry.licence and entry.summary for entry in sets.values())


@pytest.mark.parametrize(
    ("name", "pages", "profiles", "documents"),
    [
        ("oldbooks_en", 67, {"default"}, 6),
        ("sroie_receipts", 23, {"loose"}, 23),
        ("fraktur_de", 25, {"historic"}, 25),
        ("borndigital_pdf", 52, {"default", "cjk"}, 16),
        ("ehri_typewritten", 12, {"default"}, 7),
        ("tesseract_test", 4, {"default"}, 4),
    ],
)
def test_real_sets_load_whole_and_pass_their_checksums(
    shared: Path, name: str, pages: int, profiles: set[str], documents: int
) -> None:
    data = one(shared / name)
    assert len(data.pages) == pages
    assert data.skipped == ()
    assert {page.profile for page in data.pages} == profiles
    assert len({page.document for page in data.pages}) == documents
    listed = {entry["id"]: entry for entry in json.loads((shared / name / "manifest.json").read_text())}
    for page in data.pages:
        entry = listed[page.id.split("/", 1)[1]]
        assert page.text == (shared / name / entry["text"]).read_text(encoding="utf-8")
        assert page.language == entry["language"]


def test_real_pages_have_the_size_that_their_manifest_says(shared: Path) -> None:
    for name in ("tesseract_test", "ehri_typewritten"):
        listed = {entry["id"]: entry for entry in json.loads((shared / name / "manifest.json").read_text())}
        for page in one(shared / name).pages:
            entry = listed[page.id.split("/", 1)[1]]
            assert decode(page).shape == (entry["height"], entry["width"], 3)
        assert verify(str(shared / name)) == []
