"""Data sets: which pages there are, what is written on them, and their pixels."""

from importlib import import_module
from typing import TYPE_CHECKING

from harness.data.decode import Decoding, PageError, Picture, decode, open_page
from harness.data.refs import PROFILES, DataSet, PageRef

if TYPE_CHECKING:
    from harness.data.sets import NamedSet, fetch, load, named_sets, verify

__all__ = [
    "PROFILES",
    "DataSet",
    "Decoding",
    "NamedSet",
    "PageError",
    "PageRef",
    "Picture",
    "decode",
    "fetch",
    "load",
    "named_sets",
    "open_page",
    "verify",
]


def __getattr__(name: str) -> object:
    """The rest of `__all__`, imported at first use: a worker only decodes, without pydantic and YAML."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("harness.data.sets"), name)
