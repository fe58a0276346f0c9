"""Findings of the bound that is measured: how tight it is, and what it loses outside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.analysis.findings.finding import MATERIAL, Finding, finite_values, over_seeds
from reports.formatting import number, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports.analysis.curves import BoundCurve
    from reports.analysis.results import Study

FEW_WEIGHTS = 2.0
"""Below it the bound of an average image rests on one importance weight."""
FLAT = 1e-3
"""Relative change of the bound over a doubling of k below which its curve counts as flat."""
OUTSIDE = 0.01
"""Share of pixel values outside the data's range from which the lost probability is called out."""


def tightness(study: Study, curve: BoundCurve, gap: float | None) -> Iterator[Finding]:
    """What the last doubling of k changed: noise, nothing that matters, or enough to say that the bound is loose."""
    if len(curve.points) < 2:
        return
    before, last = curve.points.iloc[-2], curve.points.iloc[-1]
    change = float(last["value"] - before["value"])
    size = f"{number(abs(change), 5)} bits/dim ({number(100 * abs(change) / abs(float(last['value'])), 2)}%)"
    course = (
        f"{study.title(curve.arm)}: from k = {int(before['importance_samples'])} to {int(last['importance_samples'])} "
        f"the bound {'fell' if change < 0 else 'rose'} by {size}"
    )
    if abs(change) < FLAT * abs(float(last["value"])):
        yield Finding(f"{course}: it has flattened, and more samples would hardly change the value.")
    elif abs(change) <= 2 * float(last["error"]):
        yield Finding(f"{course}, within two Monte Carlo errors: the samples do not show whether it has flattened.")
    elif gap is not None and abs(change) <= MATERIAL * gap:
        share = number(100 * abs(change) / gap, 1)
        yield Finding(f"{course}: small beside the gap of {quantity(gap)} between the arms ({share}% of it).")
    else:
        yield Finding(
            f"{course}: it has not flattened, so the true bits/dim lies lower than this value by an unknown amount.",
            alarm=True,
        )


def effective_weights(study: Study, arm: str) -> Iterator[Finding]:
    """On how many importance weights the bound of an average image rests."""
    name = study.title(arm)
    values = finite_values(study, arm, "test", "effective_sample_size")
    if not len(values):
        return
    rows = study.finals[arm].measured("test", "effective_sample_size")
    samples = rows["importance_samples"].dropna()
    among = f" of {int(samples.max())}" if len(samples) else ""
    mean = float(values.mean())
    text = f"{name}: the effective sample size of the bound is {quantity(mean)}{among} ({over_seeds(values)})"
    if mean < FEW_WEIGHTS:
        yield Finding(f"{text}: the bound rests on single weights and is likely to be loose.", alarm=True)
    else:
        yield Finding(f"{text}.")


def mass_outside(study: Study, arm: str) -> Iterator[Finding]:
    """Probability that the model gives to values which no image can have."""
    name = study.title(arm)
    values = finite_values(study, arm, "diagnostics", "outside_share")
    if not len(values):
        return
    mean = float(values.mean())
    text = (
        f"{quantity(100 * mean)}% of the pixel values that {name} samples lie outside the range of the data "
        f"({over_seeds(values)})"
    )
    if mean > OUTSIDE:
        yield Finding(
            f"Mass outside the data: {text}: this probability is lost to images, and no tighter bound wins it back.",
            alarm=True,
        )
    else:
        yield Finding(f"{text}.")
