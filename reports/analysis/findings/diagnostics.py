"""Findings of the model itself: latents without use, and an inverse that loses images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.findings.finding import Finding, finite_values, over_seeds
from reports.analysis.remedies import remedies
from reports.formatting import count, number, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.results import Study

COLLAPSED = 0.5
"""Share of latents without use from which posterior collapse is called out."""
ROUND_TRIP = 0.5
"""Grey levels: an inverse that errs by more gives back another image."""
CONDITION = 1e4
"""Above it a 1x1 convolution loses four of the seven digits of single precision."""


def collapse(study: Study, arm: str) -> Iterator[Finding]:
    """How many latents are in use; an alarm says what to do against collapse."""
    name = study.title(arm)
    shares = finite_values(study, arm, "diagnostics", "collapsed_share")
    active = finite_values(study, arm, "diagnostics", "active_units")
    if not len(shares) and not len(active):
        return
    latents = study.table("latents", arm).groupby("run_id").size()
    total = f" of {int(latents.iloc[0])}" if len(latents) else ""
    units = f"{round(float(active.mean()), 1):g}{total} latents" if len(active) else "some latents"
    share = f", {number(100 * float(shares.mean()), 0)}% are not" if len(shares) else ""
    text = f"{units} of {name} are active{share} ({over_seeds(active if len(active) else shares)})"
    if (len(shares) and shares.mean() >= COLLAPSED) or (len(active) and active.mean() == 0):
        advice = " ".join(remedies(study, arm))
        yield Finding(
            f"Posterior collapse: {text}. The model has latents that it does not use. {advice}".rstrip(), alarm=True
        )
    else:
        yield Finding(f"{text}.")


def inverse(study: Study, arm: str) -> Iterator[Finding]:
    """By how many grey levels a flow and its inverse change an image."""
    name = study.title(arm)
    values = finite_values(study, arm, "diagnostics", "round_trip_error")
    if lost := len(study.finals[arm].measured("diagnostics", "round_trip_error")) - len(values):
        yield Finding(
            f"{name} loses images: the inverse of the flow gives no number for a held-out image in "
            f"{lost} of {count(lost + len(values), 'final run')}, so its likelihood is not that of what it samples.",
            alarm=True,
        )
    if not len(values):
        return
    worst = quantity(float(values.max()), None, "grey levels")
    if values.max() > ROUND_TRIP:
        yield Finding(
            f"{name} loses images: the flow and its inverse change a held-out image by up to {worst}, so "
            "its likelihood is not that of what it samples.",
            alarm=True,
        )
    else:
        yield Finding(f"{name} gives held-out images back to within {worst} (worst seed).")


def conditioning(study: Study, arm: str) -> Iterator[Finding]:
    """The worst conditioned 1x1 convolution of a flow."""
    name = study.title(arm)
    values = finite_values(study, arm, "diagnostics", "condition_number")
    if not len(values):
        return
    table = study.table("convolutions", arm).dropna(subset=["condition_number"])
    where = ""
    if len(table):
        worst = table.sort_values("condition_number", kind="stable").iloc[-1]
        where = f", at level {worst['level']:g}, step {worst['step']:g} counted from 0"
    text = f"the worst conditioned 1x1 convolution of {name} has the condition number {values.max():.3g}{where}"
    if values.max() > CONDITION:
        yield Finding(f"Ill conditioned: {text}; single precision keeps few digits through it.", alarm=True)
    else:
        yield Finding(f"{text[0].upper()}{text[1:]} (worst seed).")
