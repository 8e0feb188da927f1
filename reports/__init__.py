"""Reports: a study in, a self-contained HTML page out. Pure functions and one template."""

from reports.page import preview, render, render_phases
from reports.profile import layers_csv, render_profile
from reports.tables import trials_csv
from reports.trend import render_benchmarks, render_history

__all__ = [
    "layers_csv",
    "preview",
    "render",
    "render_benchmarks",
    "render_history",
    "render_phases",
    "render_profile",
    "trials_csv",
]
