"""Reports: a study in, a self-contained HTML page out. Pure functions and one template."""

from reports.page import render
from reports.tables import trials_csv

__all__ = ["render", "trials_csv"]
