"""Measurements in, pages out: frames -> statistics -> sentences, tables and figures -> HTML, Markdown and CSV.

Nothing here imports an array framework or a tracker: the one thing known of the rest of the project is the result
schema, `bench.core.results`. Of Optuna only the importances are used, as a library of statistics.
"""

from reports.pages.write import ReportPaths, write_report

__all__ = ["ReportPaths", "write_report"]
