"""How well the gain of further training is known by which trials of unequal speed are compared.

``make benchmark-forecasts``.
In a given time a study retrains the trial that is the best by :func:`bench.study.rungs.expected_gain`. Logged curves
are cut, and their gain by two and four times the training is compared with that. Writes ``expected_gain.csv`` and
``.md``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.runtime.provenance import commit
from bench.study.rungs import Progress, expected_gain
from reports.analysis.arm_forecasts import HORIZON_SCHEDULES
from tests.benchmarks.forecast_coverage import OUTPUT, logged

FACTORS = (2, 4)
LATER = 8
"""An evaluation from which a cut counts as a late one."""


def gains() -> Iterator[dict[str, object]]:
    """A row for each cut of each logged curve whose schedule does not depend on the budget."""
    for source, name, decay, images, values in logged():
        is_even = np.allclose(images, images[0] * np.arange(1, len(images) + 1))
        if decay in HORIZON_SCHEDULES or not is_even:
            continue
        curve = Progress(len(values), curve=dict(enumerate(map(float, values), start=1)))
        for factor in FACTORS:
            for evaluation in range(2, len(values) // factor + 1):
                reached, later = curve.best_until(evaluation), curve.best_until(factor * evaluation)
                yield {
                    "source": source,
                    "curve": name,
                    "factor": factor,
                    "evaluation": evaluation,
                    "gain": reached - later,
                    "expected": expected_gain([curve], evaluation)(factor * evaluation),
                }


def page(table: pd.DataFrame) -> str:
    """The page: by source, how far the expected gain is from what was logged."""
    lines = ["| curves | cut at evaluation | training | cuts | gain | expected | mean error, share of the gain |"]
    lines.append("| --- | --- | --: | --: | --: | --: | --: |")
    when = (table["evaluation"] >= LATER).map({False: f"2 to {LATER - 1}", True: f"{LATER} or later"})
    for (source, at, factor), own in table.groupby(["source", when, "factor"]):
        error = (own["expected"] - own["gain"]).abs().mean() / own["gain"].mean()
        lines.append(
            f"| {own['curve'].nunique()} of {source} | {at} | {factor}x | {len(own):,} | {own['gain'].mean():.4f} | "
            f"{own['expected'].mean():.4f} | {error:.2f} |"
        )
    return f"""# The expected gain of further training

`python -m tests.benchmarks.expected_gain`, commit {commit()[:12]}. Under `--time` trials are compared at the
evaluation to which two of them have come, each less what it is expected to gain from there in the time of its final
runs: a trial that is twice as fast sees twice the images. The gain is taken to fall with the square root of the images,
from what the second half of the training until there has given.

Each logged curve whose schedule does not depend on the budget is cut at each evaluation from the second on, and what
two and four times the training then gave is compared with that; means over the cuts, in the unit of the curve.

{chr(10).join(lines)}

Only differences of it decide: between a trial and one that is twice as fast, by what twice the images give. Where it is
expected too low, as of curves with a plateau, speed counts for too little, and trials are compared rather as by equal
images. Where training has nearly ended, as in late cuts of the recipes, which are trained until nothing improves, it is
expected too high, and speed counts for too much; the exponent of each curve, fitted to its last two doublings, was
farther off.
"""


def main() -> None:
    """Write table and page."""
    table = pd.DataFrame(gains())
    table.to_csv(OUTPUT / "expected_gain.csv", index=False, float_format="%.6g")
    (OUTPUT / "expected_gain.md").write_text(page(table))


if __name__ == "__main__":
    main()
