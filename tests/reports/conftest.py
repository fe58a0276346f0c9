"""Synthetic studies: what a tracking server might hold, without training anything."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.metrics import METRICS
from bench.core.results import (
    HISTORY_COLUMNS,
    MEASUREMENT_COLUMNS,
    PICTURES,
    RUN_COLUMNS,
    TABLES,
    BoundKind,
    ImageGrid,
    RunState,
    StudyResults,
)
from reports.analysis import importance
from reports.analysis.results import Study
from reports.figures import drawing, registry
from reports.figures import matplotlib as static
from reports.figures.drawing import DrawnFigure
from reports.figures.grammar import Figure
from reports.text.table import Table

SWEPT = {"vae": ["latent_size", "learning_rate"], "glow": ["flow_depth", "learning_rate"]}
BOUNDS = {
    "vae": (BoundKind.IMPORTANCE_WEIGHTED, 64, "none"),
    "glow": (BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, 16, "uniform"),
}
LEVELS = {"vae": 2.31, "glow": 1.97}
COSTS = {"vae": (8.0, 412_034, 5200.0, 91_000.0), "glow": (41.0, 1_254_112, 900.0, 4200.0)}
ENDS = [
    (RunState.PRUNED, "worse than the median at evaluation 3"),
    (RunState.DIVERGED, "the loss became NaN at step 41"),
    (RunState.FAILED, "ValueError: latent_size must be positive"),
    (RunState.OUT_OF_MEMORY, "the device ran out of memory allocating 3.1 GiB"),
    (RunState.INTERRUPTED, "SIGINT"),
    (RunState.RUNNING, ""),
]


def png(size: int = 40, seed: int = 0) -> bytes:
    """A small grey PNG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


class Builder:
    """Collects the rows of a synthetic study.

    Args:
        arms: the family of each arm that is not named as its family.
    """

    def __init__(self, arms: dict[str, str] | None = None) -> None:
        self.arms = arms or {}
        self.runs: list[dict[str, object]] = []
        self.measurements: list[dict[str, object]] = []
        self.histories: list[dict[str, object]] = []
        self.images: list[ImageGrid] = []
        self.tables: dict[str, list[pd.DataFrame]] = {}

    def family(self, arm: str) -> str:
        """The family of an arm."""
        return self.arms.get(arm, arm)

    def run(self, arm: str, role: str, state: str = "complete", **known: object) -> dict[str, object]:
        """Add a run; ``known`` overrides its columns and gives its parameters as ``param.NAME``."""
        index = len(self.runs)
        row: dict[str, object] = {
            "run_id": f"run{index:04d}",
            "name": f"{arm}-{role}-{index}",
            "role": role,
            "arm": arm,
            "family": self.family(arm),
            "number": np.nan,
            "attempt": 1,
            "continued_from": 0,
            "seed": 0,
            "state": str(state),
            "reason": "",
            "config_hash": "-".join(
                sorted(f"{key}={value}" for key, value in known.items() if key.startswith("param_"))
            ),
            "started": pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta(minutes=index),
            "seconds": 12.5 + index,
            "url": f"http://127.0.0.1:5000/#/experiments/1/runs/run{index:04d}",
        }
        row |= {key.replace("param_", "param."): value for key, value in known.items()}
        self.runs.append(row)
        return row

    def measure(self, run: dict[str, object], split: str, metric: str, value: float, **known: object) -> None:
        """Add a measurement of a run."""
        kind, samples, dequantisation = BOUNDS.get(str(run["family"]), BOUNDS["vae"])
        likelihood = metric in {"bits_per_dim", "nll_nats"}
        row: dict[str, object] = {
            "study": "s",
            "run_id": run["run_id"],
            "role": run["role"],
            "arm": run["arm"],
            "family": run["family"],
            "trial": run["number"],
            "seed": run["seed"],
            "config_hash": run["config_hash"],
            "split": split,
            "metric": metric,
            "value": value,
            "standard_error": 0.012 if likelihood else np.nan,
            "n": 360 if likelihood else np.nan,
            "unit": METRICS[metric].unit if metric in METRICS else "widgets",
            "higher_is_better": METRICS[metric].higher_is_better if metric in METRICS else None,
            "bound": str(kind) if likelihood else None,
            "importance_samples": samples if likelihood else np.nan,
            "dequantisation": dequantisation if likelihood else None,
        }
        self.measurements.append(row | known)

    def history(self, run: dict[str, object], values: list[float]) -> None:
        """Add a validation learning curve, one point an evaluation, every 1,000 images."""
        for step, value in enumerate(values, start=1):
            self.histories.append(
                {
                    "run_id": run["run_id"],
                    "metric": "validation/bits_per_dim",
                    "step": step,
                    "images": 1000 * step,
                    "seconds": 0.5 * step,
                    "value": value,
                }
            )

    def final(self, arm: str, seed: int, value: float, **known: object) -> dict[str, object]:
        """Add a complete final run with everything that one measures."""
        run = self.run(arm, "final", seed=seed, **known)
        seconds, parameters, training, sampling = COSTS.get(self.family(arm), COSTS["vae"])
        self.measure(run, "test", "bits_per_dim", value)
        self.measure(run, "test", "nll_nats", value * 64 * np.log(2), standard_error=0.6)
        self.measure(run, "quality", "pixel_kid", 0.0123 + 0.001 * seed, standard_error=0.0004, n=20)
        self.measure(run, "quality", "pixel_kid_floor", 0.00021, standard_error=0.0001, n=20)
        self.measure(
            run, "throughput", "train_images_per_second", training * (1 + 0.02 * seed), standard_error=30.0, n=8
        )
        self.measure(
            run, "throughput", "sample_images_per_second", sampling * (1 + 0.015 * seed), standard_error=90.0, n=5
        )
        self.measure(
            run,
            "throughput",
            "evaluate_images_per_second",
            0.4 * sampling * (1 + 0.01 * seed),
            standard_error=20.0,
            n=5,
        )
        self.measure(run, "cost", "parameters", parameters)
        self.measure(run, "cost", "training_seconds", seconds + 0.3 * seed)
        self.measure(run, "cost", "peak_memory_bytes", 812_000_000 + 1e6 * seed)
        self.history(run, [value + 1.4 / step for step in range(1, 13)])
        for kind in ("samples", "reconstructions"):
            caption = f"64 {kind} at temperature 1, seed {seed}"
            self.images.append(ImageGrid(str(run["run_id"]), arm, kind, caption, png(seed=seed)))
        return run

    def table(self, run: dict[str, object], name: str, **columns: object) -> None:
        """Add a run's rows of one of the schema's tables."""
        frame = pd.DataFrame(columns).assign(run_id=run["run_id"])
        self.tables.setdefault(name, []).append(frame[["run_id", *TABLES[name]]])

    def measured(self, arm: str, seed: int, value: float, **known: object) -> dict[str, object]:
        """Add a final run with all that one measures now: errors, conditions, diagnostics and tables."""
        run = self.run(arm, "final", seed=seed, **known)
        family = self.family(arm)
        _, samples, _ = BOUNDS.get(family, BOUNDS["vae"])
        seconds, parameters, training, sampling = COSTS.get(family, COSTS["vae"])
        images = 360
        common = np.random.default_rng(0).normal(0, 0.3, images)
        own = np.random.default_rng([seed, len(arm)]).normal(0, 0.05, images)
        bits = common + own
        bits += value - bits.mean()
        nats = bits * 64 * np.log(2)
        sizes = {"standard_error": float(bits.std() / np.sqrt(images)), "n": images}
        self.measure(run, "test", "bits_per_dim", value, monte_carlo_error=0.0004, **sizes)
        nats_sizes = {"standard_error": float(nats.std() / np.sqrt(images)), "n": images}
        self.measure(run, "test", "nll_nats", float(nats.mean()), monte_carlo_error=0.018, **nats_sizes)
        self.measure(run, "test", "elbo_nats", float(-nats.mean() - 2.5), **nats_sizes)
        self.measure(run, "test", "effective_sample_size", 0.2 * samples + seed, importance_samples=samples, n=images)
        self.measure(
            run, "out_of_distribution", "auroc", 0.91 - 0.01 * seed, standard_error=0.01, n=720, conditions="mnist 8x8"
        )
        for extractor, factor in (("classifier features", 1.0), ("random features", 0.1)):
            for metric, score, floor in (
                ("kid", 0.0123, 0.0002),
                ("frechet_distance", 41.0, 3.0),
                ("recall", 0.6, 0.7),
            ):
                here = {"n": 1000, "conditions": extractor}
                level = factor * (score + (0.02 if family == "vae" else 0.0)) * (1 + 0.02 * seed)
                self.measure(run, "quality", metric, level, standard_error=0.01 * score, **here)
                self.measure(run, "quality", f"{metric}_floor", factor * floor, standard_error=0.1 * floor, **here)
        self.measure(
            run, "quality", "data_copying", 0.51 + 0.01 * seed, standard_error=0.02, n=1000, conditions="pixels"
        )
        for batch in (1, 64):
            self.measure(
                run,
                "throughput",
                "sample_images_per_second",
                sampling * (1 + 0.015 * seed) * (0.1 if batch == 1 else 1.0),
                standard_error=90.0,
                conditions=f"CPU, tensorflow, float32, batch {batch}",
            )
        self.measure(
            run,
            "throughput",
            "train_images_per_second",
            training * (1 + 0.02 * seed),
            standard_error=30.0,
            conditions="CPU, tensorflow, float32, batch 64",
        )
        self.measure(run, "cost", "parameters", parameters)
        self.measure(run, "cost", "training_seconds", seconds + 0.3 * seed)
        self.history(run, [value + 1.4 / step for step in range(1, 13)])
        for kind in PICTURES:
            self.images.append(ImageGrid(str(run["run_id"]), arm, kind, f"64 images, seed {seed}", png(seed=seed)))
        self.table(
            run,
            "likelihood_by_image",
            image=np.arange(images),
            bound_nats=-nats,
            monte_carlo_error=0.05,
            effective_sample_size=0.2 * samples,
        )
        ks = 2 ** np.arange(int(np.log2(samples)) + 1)
        self.table(
            run,
            "bound_by_samples",
            importance_samples=ks,
            bits_per_dim=value + 0.1 / ks - 0.1 / samples,
            monte_carlo_error=0.004 / np.sqrt(ks),
        )
        self.table(
            run,
            "budgets",
            images=[2000, 3000, 6000, 12_000],
            evaluation=[2, 3, 6, 12],
            bits_per_dim=[value + 1.4 / step - 1.4 / 12 for step in (2, 3, 6, 12)],
            standard_error=0.013,
            importance_samples=samples,
        )
        if family == "vae":
            kl = np.concatenate([np.linspace(3, 1, 12), np.full(20, 0.002)])
            self.measure(run, "diagnostics", "active_units", 12)
            self.measure(run, "diagnostics", "collapsed_share", 20 / 32)
            self.measure(run, "diagnostics", "kl_nats", float(kl.sum()), standard_error=0.3, n=images)
            self.table(
                run, "latents", latent=np.arange(32), kl_nats=kl, variance_of_mean=kl / 4, active=np.arange(32) < 12
            )
            self.table(
                run,
                "latent_layers",
                layer=[0, 1],
                latents=[12, 20],
                kl_nats=[kl[:12].sum(), kl[12:].sum()],
                active_units=[12, 0],
            )
        elif family == "glow":
            self.measure(run, "diagnostics", "round_trip_error", 0.0004)
            self.measure(run, "diagnostics", "condition_number", 31.0 + seed)
            self.table(
                run,
                "convolutions",
                level=[1, 1, 2, 2],
                step=[1, 2, 1, 2],
                channels=[4, 4, 8, 8],
                condition_number=[3.0, 12.0, 31.0 + seed, 7.0],
                log_abs_det=[0.1, -0.2, 0.3, 0.0],
            )
        return run

    def results(self, swept: dict[str, list[str]] | None = None, **known: object) -> StudyResults:
        """The study."""
        arms = {str(run["arm"]): str(run["family"]) for run in self.runs}
        if swept is None:
            swept = SWEPT | {arm: SWEPT[family] for arm, family in arms.items() if family in SWEPT}
        if self.arms:
            swept = {arm: swept[arm] for arm in arms if arm in swept}
        fields: dict[str, object] = {
            "study_id": "vae_vs_glow-digits-1a2b3c4d",
            "name": "vae_vs_glow",
            "question": "Which models 8×8 digits better at five minutes on two cores, a VAE or a Glow?",
            "arms": {arm: arms.get(arm, arm) for arm in [*swept, *arms]},
            "swept": swept,
            "dataset": {
                "name": "digits",
                "digest": "sha256:" + "5f" * 32,
                "source": "scikit-learn's copy of the UCI handwritten digits, CC BY 4.0",
                "image_shape": (8, 8, 1),
                "grey_levels": 17,
                "sizes": {"train": 1077, "validation": 360, "test": 360},
            },
            "settings": {"epochs": 12, "batch_size": 64, "trials": 24, "seeds": 3, "pruning": True},
            "provenance": {
                "commit": "6704154c0ffee",
                "dirty": False,
                "versions": {"python": "3.11.9", "keras": "3.15.0", "tensorflow": "2.21.0"},
                "backend": "tensorflow",
                "device": "CPU, 2 cores",
                "command": "python studies/vae_vs_glow.py --dataset digits --trials 24 --seed 0",
            },
            "runs": pd.DataFrame(self.runs, columns=None if self.runs else RUN_COLUMNS),
            "measurements": pd.DataFrame(self.measurements, columns=MEASUREMENT_COLUMNS),
            "histories": pd.DataFrame(self.histories, columns=HISTORY_COLUMNS),
            "images": self.images,
            "tables": {name: pd.concat(frames, ignore_index=True) for name, frames in self.tables.items()},
        }
        return StudyResults(**(fields | known))  # type: ignore[arg-type]


def search(builder: Builder, arm: str, trials: int = 18) -> None:
    """A sweep of an arm: two thirds complete, one of every other end among the rest, one far off the scale."""
    family = builder.family(arm)
    rng = np.random.default_rng(len(arm))
    for number in range(trials):
        rate = float(10 ** rng.uniform(-4, -1.5))
        own = {"glow": "param_flow_depth"}.get(family, "param_latent_size")
        size = int(rng.choice([2, 4, 6, 8] if family == "glow" else [2, 4, 8, 16, 32, 64]))
        value = LEVELS.get(family, 2.1) + 0.15 * abs(np.log10(rate) + 2.9) + 0.08 * rng.random() + 0.3 / size
        state, reason = ENDS[number // 3 % len(ENDS)] if number % 3 == 2 else (RunState.COMPLETE, "")
        run = builder.run(arm, "search", state, number=number, reason=reason, param_learning_rate=rate, **{own: size})
        epochs = {"complete": 12, "pruned": 3, "diverged": 4, "interrupted": 5, "running": 6}.get(str(state), 0)
        curve = [value + 1.2 / step + 0.02 * float(rng.random()) for step in range(1, epochs)] + [value] * (epochs > 0)
        if state == RunState.DIVERGED:
            curve[-1] = float("nan")
        if number == 4:
            curve[-1] = value = 9.7
        builder.history(run, curve)
        if state == RunState.COMPLETE:
            builder.measure(run, "validation", "bits_per_dim", value)


def best(builder: Builder, arm: str) -> dict[str, object]:
    """The swept parameters of the complete trial with the lowest validation bits/dim."""
    rows = [row for row in builder.measurements if row["arm"] == arm and row["split"] == "validation"]
    run_id = min(rows, key=lambda row: float(str(row["value"])))["run_id"]
    run = next(row for row in builder.runs if row["run_id"] == run_id)
    return {key.replace("param.", "param_"): value for key, value in run.items() if key.startswith("param.")}


def whole(levels: dict[str, list[float]], *, measured: bool = False, families: dict[str, str] | None = None) -> Builder:
    """A finished study of the given arms, each with these test bits/dim, one a seed.

    ``measured`` gives the final runs all that one measures now, and not what the first ones did; ``families`` names the
    family of each arm that is not named as its family.
    """
    builder = Builder(families)
    for arm in levels:
        search(builder, arm)
    for arm, values in levels.items():
        for seed, value in enumerate(values):
            final = builder.measured if measured else builder.final
            final(arm, seed, value, **best(builder, arm))
    return builder


FALLS = [9.0, 5.0, 3.0, 2.0, 1.5, 1.2]
SLOW = [4.0, 3.9, 3.8, 3.7, 3.6, 3.5]
"""Two learning curves that cross between the second and the third evaluation."""


def shifted(values: list[float], by: float = 0.01) -> list[float]:
    """The learning curve of another seed."""
    return [value + by for value in values]


def texts(table: Table) -> list[list[str]]:
    """What the cells of a table say, row by row."""
    return [[cell.text for cell in row] for row in table.rows]


def curves_of(
    builder: Builder,
    curves: dict[str, list[list[float]]],
    *,
    every: float = 1000.0,
    seconds: dict[str, float] | None = None,
    decay: str | dict[str, str | None] | None = "plateau",
    budget: dict[str, tuple[int, int, int]] | None = None,
    **known: object,
) -> Study:
    """A study whose final runs have these learning curves, by arm and seed.

    Args:
        builder: collects them.
        curves: bits/dim at each evaluation.
        every: images between two evaluations.
        seconds: time between two evaluations of each arm.
        decay: the setting of the arms, or of each.
        budget: the settings ``images``, ``evaluations`` and ``batch_size`` of arms.
        known: further fields of the results.
    """
    decays = decay if isinstance(decay, dict) else dict.fromkeys(curves, decay)
    for arm, seeds in curves.items():
        for seed, values in enumerate(seeds):
            parameters: dict[str, object] = {} if decays[arm] is None else {"param_decay": decays[arm]}
            if budget and arm in budget:
                names = ("param_images", "param_evaluations", "param_batch_size")
                parameters |= dict(zip(names, budget[arm], strict=True))
            run = builder.run(arm, "final", seed=seed, **parameters)
            builder.history(run, values)
            for row in builder.histories[-len(values) :]:
                step = float(str(row["step"]))
                row["images"] = every * step
                row["seconds"] = np.nan if seconds is None else seconds[arm] * step
    return Study(builder.results(**known))


FOUR = {"dense": "vae", "conv": "vae", "shallow": "glow", "deep": "glow"}
"""Two VAEs and two Glows."""
FOUR_LEVELS = {
    "dense": [2.31, 2.33, 2.30],
    "conv": [2.11, 2.13, 2.10],
    "shallow": [2.02, 2.04, 2.01],
    "deep": [1.97, 1.99, 1.96],
}


SEPARATED = {"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}
"""Glow clearly below the VAE, three seeds each."""


@pytest.fixture
def study() -> Callable[..., Builder]:
    """`whole` for tests."""
    return whole


@pytest.fixture
def empty() -> Builder:
    """A study without a run."""
    return Builder()


@pytest.fixture
def finished() -> StudyResults:
    """Glow clearly below the VAE, three seeds each."""
    return whole(SEPARATED).results()


@pytest.fixture
def measured() -> StudyResults:
    """Glow below the VAE, three seeds each, with tables, conditions and a random sampler."""
    return whole(SEPARATED, measured=True).results(settings=RANDOM)


@pytest.fixture
def four() -> StudyResults:
    """Two VAEs and two Glows, three seeds each, with all that is measured; the second Glow is the lowest."""
    return whole(FOUR_LEVELS, measured=True, families=FOUR).results()


RANDOM = {"epochs": 12, "sampler": "random", "seeds": 3}
"""Settings of a study by a random sampler."""


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have no figures: making them is half of a page's time, for what a page says beside them."""
    monkeypatch.setattr(registry, "_FIGURES", {})


_drawn: dict[tuple[Any, bytes], DrawnFigure] = {}
"""By what draws a figure, and all that it is drawn from."""
_shares: dict[bytes, pd.DataFrame] = {}
"""Importances of swept parameters by the trials that they are of."""


@pytest.fixture(scope="module", autouse=True)
def _computed_once() -> Iterator[None]:
    """Draw the figures of the pages of equal studies once, and fit their forests once: both take most of a page's time.

    Of a module, for its own fixtures write pages too.
    """
    draw, shares = drawing.draw, importance._shares

    def drawn_once(figure: Figure, styles: Any, stem: str, *, pdf: bool = False) -> DrawnFigure:
        key = static.draw, pickle.dumps((figure, dict(styles), stem, pdf))
        if key not in _drawn:
            _drawn[key] = draw(figure, styles, stem, pdf=pdf)
        return _drawn[key]

    def shares_once(parameters: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
        # By their values: frames that equal each other need not be pickled alike.
        key = pickle.dumps((list(parameters), parameters.to_numpy(object).tolist(), values.tolist()))
        if key not in _shares:
            _shares[key] = shares(parameters, values)
        return _shares[key].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "draw", drawn_once)
        patch.setattr(importance, "_shares", shares_once)
        yield
