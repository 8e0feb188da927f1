"""Tuned configs in the formats of other programs. One file a format; all are pure."""

from collections.abc import Callable, Mapping

from harness.config import TunedConfig
from harness.export import env, json, rapidocr

EXPORTERS: Mapping[str, Callable[[TunedConfig], str]] = {
    "env": env.export,
    "json": json.export,
    "rapidocr": rapidocr.export,
}
