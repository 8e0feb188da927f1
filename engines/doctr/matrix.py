"""The models of docTR that torch.compile is asked to do, and what the library's authors published about them.

They said so when support was added (https://github.com/mindee/doctr/pull/1791), before there were layout and table
models. Names are those of `ocr_predictor`, behind the part of the library that they belong to.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from engines import mindee
from engines.interface import UnsupportedError
from engines.mindee import Part

_PARTS: tuple[Part, ...] = ("detection", "recognition", "classification", "layout", "table_structure")
_PUBLISHED_PARTS = ("detection", "recognition", "classification")
_PUBLISHED_FULLGRAPH = ("vitstr", "parseq")
_PUBLISHED_FAILURE = "master"


def compile_models() -> Sequence[str]:
    """Every model as PART/ARCHITECTURE. Raises UnsupportedError where docTR is not installed."""
    if find_spec("doctr") is None:
        raise UnsupportedError(
            "the package python-doctr is not installed; run `pip install 'ocr-tune[doctr]'`"
        )
    return [f"{part}/{name}" for part in _PARTS for name in mindee.architectures("doctr", part)]


def published(model: str) -> Mapping[str, bool | None]:
    """What docTR's authors said of a model; None where they said nothing."""
    part, _, name = model.partition("/")
    if part not in _PUBLISHED_PARTS:
        return {"published_compiles": None, "published_fullgraph": None}
    return {
        "published_compiles": name != _PUBLISHED_FAILURE,
        "published_fullgraph": part == "recognition" and name.startswith(_PUBLISHED_FULLGRAPH),
    }
