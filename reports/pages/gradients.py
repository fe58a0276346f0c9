"""The gradient study's report: its answer in words, the closed forms with their verdicts, figures, tables and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.files import write_file
from reports.analysis.gradients import verdicts
from reports.figures import gradients as figures
from reports.figures.drawing import draw_each
from reports.pages.document import (
    Block,
    Document,
    Figures,
    Glossary,
    Headline,
    Items,
    Paragraph,
    Section,
    provenance,
)
from reports.pages.files import remove_others, write_csv
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text import gradients as text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.core.gradient_results import GradientResults
    from reports.figures.grammar import Figure


def page(results: GradientResults) -> Document:
    """Compute the page from what was measured."""
    judged = verdicts(results.closed_forms.outcomes)
    headline, details = text.answer(results)
    runs = text.runs(results)

    def drawn(anchor: str, title: str, contents: str, make: Callable[[], list[Figure]]) -> Section:
        found = draw_each(anchor, title, make, figures.STYLES)
        empty = Paragraph("No learning curve has been logged.", "empty")
        return Section(anchor, title, contents, [Figures(found) if found else empty])

    why = drawn("why", "Why the trick is used", "Why it is used", lambda: figures.why(results))
    not_better = drawn(
        "not-better",
        "Where it is not the better one",
        "Where it is not better",
        lambda: figures.not_better(results, judged),
    )
    more = drawn("samples", "More importance samples", "More samples", lambda: figures.weighted(results, judged))
    training = drawn("training", "What each does to training", "Training", lambda: figures.training(results))
    reached: list[Block] = [runs] if runs.rows else []
    return Document(
        name=f"Gradient estimators on {results.dataset.get('name', 'unknown data')}",
        kicker=results.study_id,
        heading=results.question,
        sections=[
            Section("answer", "Answer", "Answer", [Headline(headline), Items(details)]),
            Section("closed-forms", "Closed forms", "Closed forms", [text.outcomes(judged)]),
            why,
            not_better,
            more,
            Section(training.anchor, training.title, training.contents, [*training.blocks, *reached]),
            Section("method", "Method", "Method", [Glossary(text.NOTES)]),
            provenance(results.dataset, results.settings, results.provenance),
        ],
        footer="Made by reparam-bench. Every number lies beside this page as CSV.",
    )


def write_report(results: GradientResults, folder: Path) -> Path:
    """Write the page, its Markdown twin with figures beside it, and every frame as CSV, into ``folder``.

    The same results give the same bytes.

    Returns:
        The path of the HTML page.
    """
    content = page(results)
    known = results.closed_forms
    frames = {
        "closed_form_outcomes": verdicts(known.outcomes),
        "quadratic": known.quadratic,
        "cosine": known.cosine,
        "step": known.step,
        "signal_to_noise": known.signal_to_noise,
        "sticking_the_landing": known.landing,
        "encoder_gradients": results.encoder_gradients,
        "runs": results.runs,
        "histories": results.histories,
    }
    for name, frame in frames.items():
        write_csv(folder / f"{name}.csv", frame)
    written = {write_file(folder / each.path, each.standalone) for each in content.figures}
    remove_others(folder, written)
    write_file(folder / "report.md", page_as_markdown(content))
    return write_file(folder / "report.html", page_as_html(content))
