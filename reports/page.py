"""A study in, one HTML page out."""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from harness.values import Study
from reports.sections import SECTIONS
from reports.view import Thumbnail, derive, no_picture
from reports.words import clean


def render(
    studies: Sequence[Study], *, run_dirs: Sequence[Path] = (), thumbnail: Thumbnail = no_picture
) -> str:
    """The page as HTML text: self-contained, several runs side by side. Equal studies give equal text.

    `run_dirs` are the folders of the studies, in their order; they name the runs and the paths in commands.
    `thumbnail` gives a page's picture as PNG or JPEG bytes, or None. Raises ValueError without a study.
    """
    if not studies:
        raise ValueError("a report needs at least one study")
    if len(run_dirs) not in (0, len(studies)):
        raise ValueError("a report needs one run folder a study, or none")
    runs = [
        derive(study, key=f"r{position}", folder=folder, thumbnail=thumbnail)
        for position, (study, folder) in enumerate(zip_longest(studies, run_dirs), start=1)
    ]
    built = [(section, section.build(runs)) for section in SECTIONS]
    engines = ", ".join(dict.fromkeys(f"{study.engine} on {study.device}" for study in studies))
    return _template().render(
        title=f"OCR tuning: {engines}",
        subtitle=", ".join(f"{run.label}, {run.study.created}" for run in runs),
        several=len(runs) > 1,
        sections=[
            {"id": section.id, "title": section.title, "lead": section.lead, "panels": panels}
            for section, panels in built
            if panels
        ],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("reports", "."),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2")


def _finalize(value: object) -> Markup | str:
    """Markup of our own as it is; all else as cleaned text, which autoescape then escapes."""
    return value if isinstance(value, Markup) else clean(str(value))
