"""Options of one stage."""

from engines.interface import Setting, Settings
from engines.ppocr import runtimes
from tests.engines.support import MACHINE, complete


def stage_options(**changes: Setting) -> Settings:
    """What a stage is told: its knobs' defaults and these changes."""
    knobs = list(runtimes.knobs("rec", "recognise", MACHINE))
    settings = complete(knobs, **{f"rec_{name}": value for name, value in changes.items()})
    return runtimes.StageOptions("rec", settings)
