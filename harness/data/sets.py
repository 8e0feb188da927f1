"""Data sets by name or path: loading, checking and fetching them."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.cache import cache_root
from harness.data.catalogue import FILE, ArchiveEntry, Entry, FolderEntry, GeneratedEntry, read_catalogue
from harness.data.decode import PageError, decode
from harness.data.downloads import fetch_set, set_folder
from harness.data.folder import Source, SourcePage, Sources, find_sources, read_pages
from harness.data.generated import generated_folder
from harness.data.refs import PROFILES, DataSet, PageRef
from harness.data.resources import resource
from harness.data.rules import documents, page_profile, usual_profile
from harness.errors import UserError, unknown


@dataclass(frozen=True, slots=True)
class NamedSet:
    """One entry of datasets.yaml, as `tune data` lists it."""

    name: str
    kind: str
    summary: str
    licence: str
    profile: str | None
    """None where the language of each page decides."""
    language: str
    ready: bool
    """Whether it can be loaded without the network."""


def named_sets(*, cache: Path | None = None) -> tuple[NamedSet, ...]:
    """Every data set of datasets.yaml."""

    def ready(name: str, entry: Entry) -> bool:
        return not isinstance(entry, ArchiveEntry) or set_folder(name, cache or cache_root()).is_dir()

    return tuple(
        NamedSet(name, e.kind, e.summary, e.licence, e.profile, e.language, ready(name, e))
        for name, e in read_catalogue().items()
    )


def load(
    names: Sequence[str], *, profile: str | None = None, cache: Path | None = None
) -> tuple[DataSet, ...]:
    """The data sets of `names`: entries of datasets.yaml or paths of folders, images and PDFs.

    `profile` overrides what the sets say. A set in which some pages have ground truth leaves out those that
    have none; a set in which no page has any is used as it is, with text None. Side effect: draws the
    generated pages into the cache at first use. Raises UserError on an unknown or unusable set.
    """
    if profile is not None and profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    catalogue, taken, sets = read_catalogue(), Counter[str](), []
    for name in dict.fromkeys(names):
        path, entry = _locate(name, catalogue, cache or cache_root())
        short = name if entry else path.resolve().name
        taken[short] += 1
        unique = short if taken[short] == 1 else f"{short}~{taken[short]}"
        sets.append(_load(path, unique, entry, profile))
    return tuple(sets)


def fetch(name: str, *, cache: Path | None = None) -> Path:
    """Download a public data set into the cache and return its folder; at once where it is there already.

    Raises UserError where the name is not that of a public set, or the download fails.
    """
    catalogue = read_catalogue()
    entry = catalogue.get(name)
    if isinstance(entry, ArchiveEntry):
        return fetch_set(name, entry, cache or cache_root())
    if entry:
        raise UserError(f"data set {name!r} is {entry.kind}: it needs no fetching, use it as it is")
    raise unknown("data set", name, (known for known, e in catalogue.items() if isinstance(e, ArchiveEntry)))


def verify(name: str, *, cache: Path | None = None) -> list[str]:
    """The faults of a data set, a sentence each: checksums, missing or unreadable files, no ground truth.

    Decodes every page. Raises UserError as `load` does where there is no set to check.
    """
    path, entry = _locate(name, read_catalogue(), cache or cache_root())
    return [fault for source in find_sources(path).files for fault in _faults(source, entry)]


def _locate(name: str, catalogue: dict[str, Entry], cache: Path) -> tuple[Path, Entry | None]:
    """Where a set lies, with its entry if it has one."""
    entry = catalogue.get(name)
    if isinstance(entry, GeneratedEntry):
        return generated_folder(entry.seed, cache), entry
    if isinstance(entry, FolderEntry):
        return resource(FILE).parent / entry.path, entry
    if isinstance(entry, ArchiveEntry):
        folder = set_folder(name, cache)
        if not folder.is_dir():
            raise UserError(f"data set {name!r} is not on this machine: run `tune data fetch {name}`")
        return folder, entry
    path = Path(name)
    if path.exists():
        return path, None
    if len(path.parts) > 1 or name.endswith("/"):
        raise UserError(
            f"data set path {name} does not exist: give a folder, an image, a PDF or a known name"
        )
    raise unknown("data set", name, catalogue)


def _load(path: Path, name: str, entry: Entry | None, profile: str | None) -> DataSet:
    found = find_sources(path)
    pages, skipped, digest = _usable(found)
    if not pages:
        raise UserError(f"no page of {path} can be used: {skipped[0][1]}")
    named = (entry.profile if entry else None) or found.profile
    usual = named or usual_profile(page.text or "" for page in pages)
    refs = []
    for page, document in zip(pages, documents(pages), strict=True):
        source = page.source
        own = source.profile or named or page_profile(source.language, page.text or "")
        ref = _reference(page, name, document, profile or own or usual, entry)
        refs.append(ref)
    main = Counter(ref.profile for ref in refs).most_common(1)[0][0]
    licence = entry.licence if entry else found.licence
    return DataSet(name, tuple(refs), main, licence, digest, tuple(skipped))


def _usable(found: Sources) -> tuple[list[SourcePage], list[tuple[str, str]], str]:
    """The pages that can be used, those that cannot with the reason, and the hash of the former."""
    pages: list[SourcePage] = []
    skipped = []
    files = {}
    for source in found.files:
        try:
            f"{source.id} {source.file.absolute()}".encode()
        except UnicodeEncodeError:
            name = source.id.encode("utf-8", "backslashreplace").decode()
            skipped.append((name, "its name or that of a folder is not UTF-8: rename it"))
            continue
        try:
            pages += read_pages(source)
            files[source.id] = _sha256(source.file)
        except PageError as error:
            skipped.append((source.id, str(error)))
    if any(page.text is not None for page in pages):
        bare = [page.id for page in pages if page.text is None]
        skipped += [(page_id, "it has no ground truth, other pages of the set do") for page_id in bare]
        pages = [page for page in pages if page.text is not None]
    digest = hashlib.sha256()
    for page in pages:
        digest.update(f"{page.id}\0{files[page.source.id]}\0{page.text}\0".encode())
    return pages, skipped, digest.hexdigest()


def _reference(page: SourcePage, name: str, document: str, profile: str, entry: Entry | None) -> PageRef:
    return PageRef(
        id=f"{name}/{page.id}",
        set=name,
        document=f"{name}/{document}",
        path=str(page.source.file.absolute()),
        page_index=page.index,
        kind="pdf" if page.source.is_pdf else "image",
        text=page.text,
        profile=profile,
        language=page.source.language or (entry.language if entry else ""),
        dpi=page.source.dpi,
        boxes=page.boxes,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _faults(source: Source, entry: Entry | None) -> Iterator[str]:
    try:
        if source.sha256 not in (None, _sha256(source.file)):
            yield f"{source.file} is not the file that the manifest lists: its sha256 differs"
        for page in read_pages(source):
            if page.text is None:
                yield f"{source.file} has no ground truth on page {page.index + 1}"
            decode(_reference(page, "check", page.id, "strict", entry))
    except (PageError, OSError) as error:
        yield str(error)
