"""Whether a process that does one trial after the other keeps its size: ``make benchmark-memory``.

Runs tiny trials of VAE and Glow in turn, no two of the same shape, so that each compiles programs of its own, and
notes the resident set after each. Writes ``memory_over_trials_BACKEND.csv``, and prints by how much the process grows
from one trial to the next once it is warm.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

OUTPUT = ROOT / "reports" / "benchmarks"
TRIALS = 200
WARM = 30
"""Trials after which the process should have reached its size."""


def measure(trials: int) -> list[dict[str, object]]:
    """One row a trial: what it was, how long it took, and the process's memory after it."""
    import psutil

    import bench.execution.trial
    from bench.data.bundled import load_digits
    from bench.data.dataset import TuningData
    from bench.study.config import RunConfig, TrainingConfig
    from models.glow.config import GlowConfig
    from models.vae.config import VAEConfig

    full = load_digits().tuning
    data = TuningData(full.info, full.digest, full.train.some(256), full.validation.some(64))
    training = TrainingConfig(batch_size=64, images=256, evaluations=2)
    process = psutil.Process()
    rows: list[dict[str, object]] = []
    for number in range(trials):
        shape = number // 2
        model = (
            GlowConfig(levels=1, flow_depth=1 + shape % 4, hidden_channels=4 + shape // 4)
            if number % 2
            else VAEConfig(hidden_sizes=(16,), latent_size=2 + shape)
        )
        config = RunConfig(model=model, training=training, dataset_digest="digits", backend="")
        began = time.perf_counter()
        bench.execution.trial.run_trial(config, data, number, 2, lambda record: None)
        rows.append(
            {
                "trial": number + 1,
                "family": model.family,
                "seconds": round(time.perf_counter() - began, 3),
                "resident_mb": round(process.memory_info().rss / 1e6, 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


def growth(rows: list[dict[str, object]]) -> float:
    """Megabytes by which the process grows from one trial to the next: a straight line through the warm ones."""
    import numpy as np

    warm = rows[WARM:] if len(rows) > WARM + 1 else rows
    return float(np.polyfit([row["trial"] for row in warm], [row["resident_mb"] for row in warm], 1)[0])


def main() -> None:
    """Read the options, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the results")
    options = parser.parse_args()

    from bench.runtime.backend import select_backend

    select_backend(options.backend)
    import pandas as pd

    rows = measure(options.trials)
    options.output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.output / f"memory_over_trials_{options.backend}.csv", index=False)
    slope, size = growth(rows), rows[-1]["resident_mb"]
    print(f"{options.backend}: {slope:+.3f} MB a trial after the first {WARM}, {size} MB in the end")


if __name__ == "__main__":
    main()
