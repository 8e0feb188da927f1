"""Reports: a study in, a self-contained HTML page out. Pure functions and one template."""

from reports.page import preview, render, render_phases
from reports.tables import trials_csv

__all__ = ["preview", "render", "render_phases", "trials_csv"]
