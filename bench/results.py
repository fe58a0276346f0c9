"""The result schema: what a study leaves behind, as the tracking module returns it and as reports read it.

This module is the border between measuring and reporting. It imports no framework, so that a report of
a thousand runs compiles on a laptop without Keras.

A *run* is one trained model. Runs have a role: ``search`` (one trial of the sweep, judged on validation alone)
or ``final`` (the selected configuration, retrained from one seed, then measured once on test). A final run becomes
``superseded`` when a later trial is selected in place of the one it retrained; it stays in the record. The hash of a
configuration leaves the seed out: a trial and the final runs that retrain it share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class RunState(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class BoundKind(StrEnum):
    """What kind of lower bound on log P(x) a likelihood figure is."""

    IMPORTANCE_WEIGHTED = "importance-weighted"
    """log (1/k) Σ p(x, z_i) / q(z_i | x), z_i ~ q: Burda et al. (2016), eq. 8. k = 1 is the ELBO."""
    IMPORTANCE_WEIGHTED_DEQUANTISATION = "importance-weighted dequantisation"
    """log (1/k) Σ p(x + u_i) / q(u_i | x), u_i ~ q: Hoogeboom et al. (2021). k = 1 is the dequantised log-density."""


@dataclass(frozen=True)
class Bound:
    """The bound that a likelihood figure is: its kind, its number of samples k, and the dequantisation used.

    Two figures are comparable when they bound the log-probability of the same discrete data from below;
    ``kind``, ``importance_samples`` and ``dequantisation`` say how tight each may be.
    """

    kind: BoundKind
    importance_samples: int
    dequantisation: str = "none"

    def __str__(self) -> str:
        dequantisation = "" if self.dequantisation == "none" else f", {self.dequantisation} dequantisation"
        return f"{self.kind} bound, k={self.importance_samples}{dequantisation}"


@dataclass(frozen=True)
class Metric:
    """What a metric is: its unit, which way is better (None where neither is), and its definition in one sentence."""

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    definition: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "bits_per_dim",
            "Bits/dim",
            "bits/dim",
            False,
            "Mean over images of -log2 P(x) / D, where P is the probability of the discrete image, D its number of "
            "dimensions (height × width × channels), and log P is replaced by the stated lower bound.",
        ),
        Metric("nll_nats", "NLL", "nats", False, "Mean over images of -ln P(x), by the stated lower bound on ln P."),
        Metric(
            "pixel_kid",
            "Pixel KID",
            "MMD²",
            False,
            "Unbiased squared maximum mean discrepancy between samples and held-out images under the cubic polynomial "
            "kernel of the Kernel Inception Distance (Bińkowski et al. 2018), on raw pixels scaled to [0, 1] instead "
            "of Inception features.",
        ),
        Metric(
            "pixel_kid_floor",
            "Pixel KID of real images",
            "MMD²",
            False,
            "The same distance between training images and held-out images: what a perfect sampler would score.",
        ),
        Metric(
            "train_images_per_second",
            "Training speed",
            "images/s",
            True,
            "Median over epochs of training images per second, the first epoch (with its compilation) excluded.",
        ),
        Metric(
            "sample_images_per_second",
            "Sampling speed",
            "images/s",
            True,
            "Median over timed windows of images sampled per second in batches of 64, after a warm-up.",
        ),
        Metric(
            "evaluate_images_per_second",
            "Likelihood speed",
            "images/s",
            True,
            "Median over the batches of the test evaluation, after the first, of log-weights (one for each image and "
            "importance sample) computed per second.",
        ),
        Metric("parameters", "Parameters", "", False, "Number of trainable weights."),
        Metric(
            "training_seconds",
            "Training time",
            "s",
            False,
            "Wall-clock time of training and its looks at validation; in the first run of a configuration in a process "
            "with compilation too, which later seeds share.",
        ),
        Metric(
            "first_epoch_seconds",
            "First epoch",
            "s",
            False,
            "Wall-clock time of the first epoch, with compilation where the run had to compile.",
        ),
        Metric(
            "peak_memory_bytes",
            "Peak host memory",
            "bytes",
            False,
            "Largest resident set of the process up to the end of the run (of all runs before it in the process too).",
        ),
    )
}


@dataclass(frozen=True)
class Measurement:
    """One measured number of one run.

    ``standard_error`` is that of the mean over the ``n`` images (or windows, or blocks) that the value averages.
    ``split`` is ``train``, ``validation``, ``test``, or the name of a group without a split
    (``quality``, ``throughput``, ``cost``).
    """

    split: str
    metric: str
    value: float
    standard_error: float | None = None
    n: int | None = None
    bound: Bound | None = None

    @property
    def key(self) -> str:
        """The name under which the value is logged: ``split/metric``."""
        return f"{self.split}/{self.metric}"


@dataclass(frozen=True)
class EpochRecord:
    """One point of a learning curve.

    Attributes:
        epoch: counted from 1.
        images: training images seen so far.
        seconds: time since training began, compilation included.
        values: running means of the epoch by metric key, such as ``train/bits_per_dim``.
    """

    epoch: int
    images: int
    seconds: float
    values: dict[str, float]


@dataclass(frozen=True)
class ImageGrid:
    """A picture that a run left: ``kind`` is ``samples``, ``reconstructions``, or ``samples_temperature``."""

    run_id: str
    family: str
    kind: str
    caption: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class StudyResults:
    """Everything that is known of one study, at any moment of its life.

    Attributes:
        study_id: name, data set and fingerprint, such as ``vae_vs_glow-digits-1a2b3c4d``.
        name: the study's name, such as ``vae_vs_glow``.
        question: what the study asks, one sentence.
        swept: for each family, the names of the swept parameters, in order; names as in ``runs`` columns
            without their ``param.`` prefix.
        dataset: ``name``, ``digest``, ``source``, ``image_shape``, ``grey_levels``, ``sizes`` (split -> n).
        settings: the study's settings (epochs, batch size, seeds, ...), flat.
        provenance: commit, dirty state, versions, backend, device, command.
        runs: one row a run: ``run_id name role family number seed state reason config_hash started seconds url``
            and one ``param.NAME`` column for each parameter. ``number`` is the trial's number within its family
            (missing for final runs), ``started`` a UTC timestamp, ``reason`` empty where there is nothing to say.
        measurements: one row a number: ``study run_id role family trial seed config_hash split metric value
            standard_error n unit higher_is_better bound importance_samples dequantisation``.
        histories: one row a point of a learning curve: ``run_id metric step images seconds value``; ``metric`` is
            ``train/bits_per_dim`` or ``validation/bits_per_dim``, ``step`` the epoch counted from 1.
        images: the sample and reconstruction grids of the final runs.
    """

    study_id: str
    name: str
    question: str
    swept: dict[str, list[str]]
    dataset: dict[str, object]
    settings: dict[str, object]
    provenance: dict[str, object]
    runs: pd.DataFrame
    measurements: pd.DataFrame
    histories: pd.DataFrame
    images: list[ImageGrid]


RUN_COLUMNS = [
    "run_id",
    "name",
    "role",
    "family",
    "number",
    "seed",
    "state",
    "reason",
    "config_hash",
    "started",
    "seconds",
    "url",
]
MEASUREMENT_COLUMNS = [
    "study",
    "run_id",
    "role",
    "family",
    "trial",
    "seed",
    "config_hash",
    "split",
    "metric",
    "value",
    "standard_error",
    "n",
    "unit",
    "higher_is_better",
    "bound",
    "importance_samples",
    "dequantisation",
]
HISTORY_COLUMNS = ["run_id", "metric", "step", "images", "seconds", "value"]
