"""Reports: a study in, a self-contained HTML page out. Pure functions and one template."""

from reports.page import preview, render, render_phases
from reports.tables import trials_csv
from reports.trend import render_benchmarks, render_history

__all__ = ["preview", "render", "render_benchmarks", "render_history", "render_phases", "trials_csv"]
