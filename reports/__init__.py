"""Measurements in, pages out: frames -> statistics -> sentences, tables and figures -> HTML, Markdown and CSV.

Nothing here imports an array framework, a tracker or a sampler: the one thing known of the rest of the project is
the result schema, `bench.results`.
"""

from reports.build import ReportPaths, write_report

__all__ = ["ReportPaths", "write_report"]
