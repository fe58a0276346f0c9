"""Findings of a whole study: runs that are missing or not its own, and scores that say little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.extractor import doubtful
from reports.analysis.findings.finding import Finding
from reports.formatting import count, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.results import Study


def deleted_runs(study: Study) -> Iterator[Finding]:
    """Runs that somebody deleted in MLflow."""
    count = int(str(study.results.settings.get("deleted_runs", 0)))
    if count:
        runs, are = ("run", "is") if count == 1 else ("runs", "are")
        yield Finding(
            f"{count} {runs} of this study, deleted in MLflow, {are} missing here: restored there (State: Deleted), "
            "the report counts them again.",
            alarm=True,
        )


def foreign_runs(study: Study) -> Iterator[Finding]:
    """Runs that somebody made below the study's own in MLflow, or whose tags they removed."""
    count = int(str(study.results.settings.get("foreign_runs", 0)))
    if count:
        runs, are, they = ("run", "is", "it is") if count == 1 else ("runs", "are", "they are")
        yield Finding(
            f"{count} {runs} below this study's in MLflow {are} not its own, made by somebody or without its tags: "
            f"{they} not counted here.",
            alarm=True,
        )


def doubtful_extractors(study: Study) -> Iterator[Finding]:
    """Networks at chance level, whose features tell one image from another no better than noise does, or maybe so."""
    for skill in doubtful(study).values():
        verdict = "Its features say little of an image"
        if skill.chance == 1.0:
            verdict = "All of them have one label, so that nothing is known of its features"
        elif skill.too_few:
            verdict = (
                f"{count(skill.n, 'image')} {'is' if skill.n == 1 else 'are'} too few to tell this from chance, and "
                "whether its features say anything of an image is open"
            )
        yield Finding(
            f"{skill.mark.capitalize()}: the {skill.name or 'network'} on whose features sample quality is measured "
            f"predicts {number(100 * skill.accuracy, 1)}% of {count(skill.n, 'validation image')} correctly, and a "
            f"constant prediction {number(100 * skill.chance, 1)}%. {verdict}: do not rely on the scores that the "
            "comparison marks.",
            alarm=True,
        )
