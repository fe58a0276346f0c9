"""Whole pages, as HTML, Markdown and CSV."""
