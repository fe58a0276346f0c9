"""What speaks against a result: sentences computed from the diagnostics of the final runs, alarms first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reports.analysis.curves import bound_curves
from reports.analysis.findings.bounds import effective_weights, mass_outside, tightness
from reports.analysis.findings.diagnostics import collapse, conditioning, inverse
from reports.analysis.findings.finding import Finding, gap_to_nearest
from reports.analysis.findings.of_study import deleted_runs, doubtful_extractors, foreign_runs
from reports.analysis.findings.samples import broken_samples, copied_text, copying, out_of_distribution
from reports.analysis.findings.training import (
    on_the_edge,
    outlying_seed,
    rescued,
    rising,
    unanswered,
    warming_up,
    worse_than_uniform,
)
from reports.analysis.once import once

if TYPE_CHECKING:
    from reports.analysis.results import Study

__all__ = ["Finding", "findings"]

OF_AN_ARM = (
    unanswered,
    worse_than_uniform,
    warming_up,
    rising,
    rescued,
    on_the_edge,
    outlying_seed,
    mass_outside,
    broken_samples,
    effective_weights,
    collapse,
    inverse,
    conditioning,
    copying,
    copied_text,
    out_of_distribution,
)
"""Each finds what speaks against one arm; in this order it is said."""


@once
def findings(study: Study) -> list[Finding]:
    """All findings of a study, alarms first."""
    curves = {curve.arm: curve for curve in bound_curves(study)}
    found = [*deleted_runs(study), *foreign_runs(study), *doubtful_extractors(study)]
    for arm in study.arms:
        of_arm = list(tightness(study, curves[arm], gap_to_nearest(study, arm))) if arm in curves else []
        for finder in OF_AN_ARM:
            of_arm += finder(study, arm)
        found += [replace(finding, arm=arm) for finding in of_arm]
    return sorted(found, key=lambda finding: not finding.alarm)
