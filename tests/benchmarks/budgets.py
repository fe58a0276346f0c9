"""Whether one set of runs answers for smaller budgets: beside separate runs of these budgets, and of a cosine decay.

    python -m tests.benchmarks.budgets [--backend jax] [--seeds 3] [--epochs 40]

The final runs of one study of the digits are measured on test at an eighth, a quarter and a half of their budget; for
each of these budgets a study of its own is run, with the schedule of the studies, which does not depend on the budget,
and with the cosine decay that fits it. Writes reports/benchmarks/budgets.csv and .md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from bench.runtime.provenance import commit, processor
from bench.study.config import RECIPE, TrainingConfig
from bench.study.definition import Arm, Study
from bench.workflows.run import run_study
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

TARGET = Path(__file__).resolve().parents[2] / "reports" / "benchmarks" / "budgets.csv"
SHARES = (8, 4, 2, 1)
MODELS: dict[str, ModelConfig] = {
    "VAE": VAEConfig(hidden_sizes=(200, 200), latent_size=16),
    "Glow": GlowConfig(levels=2, flow_depth=4, hidden_channels=32),
}
COSINE = RECIPE.model_copy(update={"decay": "cosine", "patience": 0})
COLUMNS = ["images", "bits_per_dim", "standard_error"]


def test_values(training: TrainingConfig, evaluations: int, epochs: int, backend: str, seeds: int) -> pd.DataFrame:
    """Test bits/dim of each model, seed and measured budget of one study."""
    training = training.model_copy(update={"evaluations": evaluations})
    arms = tuple(Arm(model, training=training, name=name) for name, model in MODELS.items())
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_study(
            Study(name="budgets", question="How low at each budget?", arms=arms),
            output=Path(folder),
            backend=backend,
            epochs=epochs,
            seeds=seeds,
            importance_samples=64,
            reference_model=False,
            quiet=True,
        )
        table = outcome.results.tables["budgets"]
    runs = outcome.runs.set_index("run_id")
    return table.assign(arm=table["run_id"].map(runs["arm"]), seed=table["run_id"].map(runs["seed"]))


def measure(backend: str, seeds: int, epochs: int) -> pd.DataFrame:
    """All of it, a row a model, seed, budget and way of having run it."""
    found = [test_values(RECIPE, epochs, epochs, backend, seeds).assign(way="one set of runs")]
    for share in SHARES:
        # Evaluated once a pass over the images, as the whole budget is.
        smaller = epochs // share
        for way, training in (("separate runs", RECIPE), ("separate runs, cosine", COSINE)):
            table = test_values(training, smaller, smaller, backend, seeds)
            found.append(table[table["evaluation"] == smaller].assign(way=way))
    return pd.concat(found)[["way", "arm", "seed", *COLUMNS]].reset_index(drop=True)


def page(rows: pd.DataFrame, backend: str, epochs: int) -> str:
    """The page that shows them side by side."""
    mean = rows.groupby(["arm", "images", "way"])["bits_per_dim"].agg(["mean", "sem"])
    cells = (mean["mean"].map("{:.4f}".format) + " ± " + mean["sem"].map("{:.4f}".format)).unstack("way")
    lines = [f"| {' | '.join(['model', 'images', *cells.columns])} |", f"| --- | --: {'| --: ' * len(cells.columns)}|"]
    for (arm, images), values in cells.iterrows():
        lines.append(f"| {' | '.join([str(arm), f'{int(images):,}', *values])} |")
    one, separate = (
        rows[rows["way"] == way].set_index(["arm", "seed", "images"])["bits_per_dim"]
        for way in ("one set of runs", "separate runs")
    )
    largest, seeds = (one - separate).abs().max(), rows["seed"].nunique()
    return f"""# One set of runs for all budgets

`python -m tests.benchmarks.budgets --backend {backend} --seeds {seeds} --epochs {epochs}` on
{processor()}, commit
{commit()[:12]}. Test bits/dim on the digits, the mean over {seeds} seeds ± its \
standard error; the bound of 16 importance samples.

{chr(10).join(lines)}

"One set of runs" are final runs of the whole budget, measured on test by their best weights until each budget;
"separate runs" are others of these budgets from the same seeds. Of one seed the two differ by at most {largest:.2g}
bits/dim. The third column has the same recipe with a cosine decay to the end of each budget in place of its plateaus;
where a budget is no longer than the recipe's {RECIPE.warmup_steps} steps of warm-up, the two schedules are one.
"""


def main() -> None:
    """Measure, and write table and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    rows = measure(options.backend, options.seeds, options.epochs)
    rows.to_csv(TARGET, index=False)
    TARGET.with_suffix(".md").write_text(page(rows, options.backend, options.epochs))


if __name__ == "__main__":
    main()
