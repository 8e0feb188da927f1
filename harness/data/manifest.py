"""`manifest.json`: the pages of a folder, each with its image, ground truth, boxes and origin.

    [{"id": "p1", "image": "p1.png", "text": "p1.txt", "boxes": "p1.boxes.json", "language": "en"}, ...]
    {"profile": "historic", "licence": "CC0-1.0", "pages": [...]}

Both forms are read. Keys that are not known here are left alone, since manifests carry notes of their own.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engines.interface import Line
from harness.data.refs import DEFAULT_DPI, Profile
from harness.errors import UserError

NAME = "manifest.json"
MAX_MIB = 64


def _inside(value: str) -> str:
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ValueError("paths must stay inside the folder of the manifest")
    return value


_Path = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_inside)]
_Name = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ManifestPage(BaseModel):
    """One file of a manifest. Paths are relative to the manifest's folder."""

    model_config = ConfigDict(frozen=True)

    id: _Name
    image: _Path
    """An image or a PDF."""
    text: _Path | None = None
    boxes: _Path | None = None
    language: Annotated[str, Field(max_length=40)] = ""
    profile: Profile | None = None
    document: _Name | None = None
    book: _Name | None = None
    """Another name for `document`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file that `image` names."""
    dpi: Annotated[int, Field(ge=36, le=1200)] = DEFAULT_DPI
    """Resolution at which a PDF is rendered."""
    licence: Annotated[str, Field(max_length=300)] | None = None


class Manifest(BaseModel):
    """A manifest of the second form."""

    model_config = ConfigDict(frozen=True)

    pages: tuple[ManifestPage, ...]
    profile: Profile | None = None
    licence: Annotated[str, Field(max_length=300)] = ""


_PAGES = TypeAdapter(tuple[ManifestPage, ...])


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder. Raises UserError with its first fault and the place where it is malformed."""
    path = folder / NAME
    if path.stat().st_size > MAX_MIB << 20:
        raise UserError(f"{path} is larger than {MAX_MIB} MiB: split the data set")
    raw = path.read_bytes()
    try:
        if raw.lstrip().startswith(b"["):
            manifest = Manifest(pages=_PAGES.validate_json(raw))
        else:
            manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}") from error
    seen: set[str] = set()
    for page in manifest.pages:
        if page.id in seen:
            raise UserError(f"{path}: two pages have the id {page.id!r}; give each its own")
        seen.add(page.id)
        for name in filter(None, (page.image, page.text, page.boxes)):
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise UserError(f"{path}: {name} leads out of the folder; copy the file into it")
    return manifest


def first_fault(error: ValidationError) -> str:
    """Where and what the first fault of a file is: `pages.3.image: Input should be a valid string`."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]


def write_page(
    folder: Path, name: str, *, image: bytes, suffix: str, lines: Iterable[Line], notes: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a page's image, ground truth and boxes into `folder`; return its entry for the manifest."""
    lines = tuple(lines)
    (folder / f"{name}{suffix}").write_bytes(image)
    (folder / f"{name}.txt").write_text("\n".join(line.text for line in lines), encoding="utf-8")
    boxes = [{"text": line.text, "box": line.box} for line in lines]
    (folder / f"{name}.boxes.json").write_text(json.dumps(boxes, ensure_ascii=False), encoding="utf-8")
    files = {"image": f"{name}{suffix}", "text": f"{name}.txt", "boxes": f"{name}.boxes.json"}
    return {"id": name, **files, **notes}


def write_manifest(folder: Path, entries: list[dict[str, Any]]) -> None:
    """Write the manifest over what `write_page` returned."""
    (folder / NAME).write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
