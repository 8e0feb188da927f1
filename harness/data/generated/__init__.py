"""The data set `generated`: pages drawn from a seed, with exact ground truth.

Its content is in `content`, its layouts in `prose` and `forms`, its wear in `degrade`. Nothing is drawn until
the set is first used; then it stays in the cache.
"""

import hashlib
from pathlib import Path

from harness.data.cache import new_folder
from harness.data.manifest import write_manifest, write_page

VERSION = 2
"""To be raised with every change of what is drawn, so that nobody measures on pages of an older version."""

PAGES_PER_KIND = 8


def generated_folder(seed: int, cache: Path) -> Path:
    """The folder with the pages of `seed`. Side effect: draws them, in about 15 s, where it is missing."""
    target = cache / "sets" / f"generated-v{VERSION}-seed{seed}"
    if not target.is_dir():
        with new_folder(target) as folder:
            write_generated(folder, seed, PAGES_PER_KIND)
    return target


def write_generated(folder: Path, seed: int, pages_per_kind: int) -> None:
    """Draw the pages of `seed` into `folder`, with a manifest."""
    from harness.data.generated.degrade import LEVELS  # noqa: PLC0415 - albumentations takes a second to import
    from harness.data.generated.pages import KINDS, generate  # noqa: PLC0415

    entries = []
    for kind in KINDS:
        for number in range(pages_per_kind):
            page = generate(kind, number, seed)
            name = f"{kind}-{LEVELS[number % len(LEVELS)].__name__}-{number // len(LEVELS) + 1}"
            notes = {"language": "en", "document": name, "sha256": hashlib.sha256(page.data).hexdigest()}
            entries.append(
                write_page(folder, name, image=page.data, suffix=page.suffix, lines=page.lines, notes=notes)
            )
    write_manifest(folder, entries)
