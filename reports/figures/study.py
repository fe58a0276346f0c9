"""All figures of a study's report: the import of this module registers them."""

from reports.figures import answer, diagnostics, frontier, learning, trade_offs, trials  # noqa: F401
