"""What the installed marker and surya declare, read from their source: importing them would import PyTorch."""

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_MARKER_FILES = ("builders/*.py", "providers/pdf.py", "processors/*.py", "converters/pdf.py")
_LANGUAGE_MODEL = "SURYA_MODEL_CHECKPOINT"


def installed() -> bool:
    """Whether both packages are here: another distribution also calls its module `marker`."""
    return bool(_sources("marker", "converters/pdf.py") and _sources("surya", "settings.py"))


def serves_language_model() -> bool:
    """Whether surya asks servers of its models (0.18 and later) rather than hold them in this process."""
    return _LANGUAGE_MODEL in surya_settings()


def surya_settings() -> Mapping[str, str]:
    """Every setting of surya, with its default where that is a text; environment variables set them."""
    return _declared(_sources("surya", "settings.py"))


def marker_options() -> frozenset[str]:
    """Every key of the configuration that marker's classes know."""
    return frozenset(_declared(_sources("marker", *_MARKER_FILES)))


def _sources(package: str, *patterns: str) -> tuple[Path, ...]:
    spec = find_spec(package)
    folders = spec.submodule_search_locations or () if spec else ()
    return tuple(
        file for folder in folders for pattern in patterns for file in sorted(Path(folder).glob(pattern))
    )


@cache
def _declared(files: tuple[Path, ...]) -> Mapping[str, str]:
    """The annotated attributes of every class, with the defaults that are texts, else an empty one."""
    found: dict[str, str] = {}
    for file in files:
        for top in ast.parse(file.read_text(encoding="utf-8")).body:
            for statement in top.body if isinstance(top, ast.ClassDef) else ():
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    default = statement.value.value if isinstance(statement.value, ast.Constant) else ""
                    found[statement.target.id] = default if isinstance(default, str) else ""
    return found
