"""datasets.yaml is checked to the last key."""

from pathlib import Path

import pytest

from harness.data.catalogue import ArchiveEntry, read_catalogue
from harness.data.resources import resource
from harness.errors import UserError

ENTRY = """
books:
  kind: folder
  summary: some books
  licence: CC0-1.0
  language: en
  path: books
"""


def test_the_catalogue_of_the_repository_has_addresses_checksums_and_licences() -> None:
    entries = read_catalogue()
    assert entries["generated"].kind == "generated"
    archives = [entry for entry in entries.values() if isinstance(entry, ArchiveEntry)]
    assert len(archives) == 4
    for entry in archives:
        assert all(file.address.startswith("https://") for file in entry.files)
        assert entry.licence
        assert entry.layout == "omnidocbench" or all(file.sha256 for file in entry.files)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (ENTRY + "  colour: red\n", r"books\.folder\.colour"),
        (ENTRY.replace("folder", "web"), "books"),
        (ENTRY.replace("path: books", "path: [1]"), r"books\.folder\.path"),
        (ENTRY + "  profile: fancy\n", r"books\.folder\.profile"),
        ("a: [", "is not YAML"),
        ("- a", "dictionary"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
        (
            "a: {kind: archive, summary: s, licence: l, language: en, layout: funsd, "
            "files: [{address: 'http://example.org/a.zip', sha256: null}]}",
            "address",
        ),
    ],
)
def test_faults_are_named_with_their_place(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        read_catalogue(path)
    assert "\n" not in str(caught.value)


def test_files_of_the_repository_are_found_and_missing_ones_named() -> None:
    assert resource("datasets.yaml") == Path(__file__).parents[3] / "datasets.yaml"
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        resource("nothing.yaml")
