"""What several commands need: data, consoles, JSON."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.data import DataSet, PageRef
from harness.errors import UserError
from harness.store import write_atomic
from harness.values import DataSummary, ReferencePage, Variant

DEFAULT_DATA = "generated"


def stderr() -> Console:
    """Where progress goes."""
    return Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class LoadedData:
    """Pages with their ground truth, in the same order."""

    sets: tuple[DataSet, ...]
    pages: tuple[PageRef, ...]
    references: tuple[ReferencePage, ...]
    summaries: tuple[DataSummary, ...]


def load_data(names: Sequence[str], profile: str | None, console: Console) -> LoadedData:
    """Load data sets, and say what had to be left out. Raises UserError where no page is left."""
    from harness.data import load

    with console.status("reading the data sets"):
        sets = load(list(names) or [DEFAULT_DATA], profile=profile)
    for data in sets:
        for page, reason in data.skipped:
            console.print(f"[yellow]left out[/] {escape(f'{page}: {reason}')}", soft_wrap=True)
    pages = tuple(page for data in sets for page in data.pages)
    if not pages:
        raise UserError(
            f"no readable page in {', '.join(names)}; see the reasons above or run `tune data check`"
        )
    return LoadedData(
        sets,
        pages,
        tuple(
            ReferencePage(
                page_id=page.id,
                set=page.set,
                document=page.document,
                text=page.text or "",
                profile=page.profile,
                path=page.path,
                page_index=page.page_index,
                language=page.language,
            )
            for page in pages
        ),
        tuple(
            DataSummary(data.name, data.sha256, len(data.pages), data.profile, data.licence, data.skipped)
            for data in sets
        ),
    )


def changed(variant: Variant, baseline: Variant) -> str:
    """The settings in which a variant differs from the baseline, for a line on a terminal."""
    differing = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in variant.settings.items()
        if baseline.settings.get(name) != value
    ]
    return " ".join(differing) or "as shipped"


def print_json(document: dict[str, Any]) -> None:
    """The one JSON document of a command, on stdout. JSON has no word for what is not finite: it becomes null."""
    json.dump(_finite(document), sys.stdout, indent=2, ensure_ascii=False, default=str, allow_nan=False)
    sys.stdout.write("\n")


def write_text(target: Path, text: str, remedy: str) -> None:
    """Write a file that the user named, whole or not at all. Raises UserError, which ends with the `remedy`."""
    try:
        write_atomic(target, text)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; {remedy}") from error


def make_folder(path: Path) -> None:
    """Make the folder that the user named with --out. Raises UserError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {path}: {error.strerror}; choose another folder with --out"
        ) from error


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value


def thumbnail(reference: ReferencePage) -> bytes | None:
    """A small picture of a page for reports, None where its file is gone or unreadable."""
    from io import BytesIO

    from PIL import Image

    from harness.data import PageError, decode

    page = PageRef(
        id=reference.page_id,
        set=reference.set,
        document=reference.document,
        path=reference.path,
        page_index=reference.page_index,
        kind="pdf" if Path(reference.path).suffix.lower() == ".pdf" else "image",
        text=None,
        profile=reference.profile,
        language=reference.language,
    )
    try:
        image = Image.fromarray(decode(page))
    except (PageError, OSError):
        return None
    image.thumbnail((640, 900))
    buffer = BytesIO()
    image.convert("L").save(buffer, "JPEG", quality=60)
    return buffer.getvalue()
