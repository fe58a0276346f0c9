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
from typing import TYPE_CHECKING, Any

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


FLOOR_SUFFIX = "_floor"
"""Of a sample-quality metric's twin: what training images score in the samples' place."""


def _with_floor(
    name: str, label: str, unit: str, higher_is_better: bool | None, definition: str
) -> tuple[Metric, Metric]:
    """A metric of samples, and the same of as many training images: what a perfect sampler would score."""
    floor = Metric(
        name + FLOOR_SUFFIX,
        f"{label} of real images",
        unit,
        higher_is_better,
        f"{label} of training images in the samples' place: what a perfect sampler would score.",
    )
    return Metric(name, label, unit, higher_is_better, definition), floor


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
            "elbo_nats",
            "ELBO",
            "nats",
            True,
            "Mean over images of the one-sample bound on ln P: the importance-weighted bound at k = 1.",
        ),
        Metric(
            "effective_sample_size",
            "Effective sample size",
            "of k",
            True,
            "Mean over images of (Σ w)² / Σ w² over the k importance weights of the bound: k where the proposal is the "
            "posterior, 1 where a single weight carries the bound.",
        ),
        Metric(
            "auroc",
            "Told from the other data set",
            "AUROC",
            None,
            "Probability that a held-out image has a higher likelihood bound than an image of the other data set. "
            "Below 0.5 the model finds the other data likelier than its own (Nalisnick et al. 2019).",
        ),
        Metric(
            "kl_nats",
            "KL to the prior",
            "nats",
            None,
            "Mean over held-out images of KL(q(z|x) ‖ p(z)), summed over latents: what the latents tell of the image.",
        ),
        Metric(
            "active_units",
            "Active units",
            "latents",
            None,
            "Latents whose posterior mean varies over held-out images with a variance above 0.01 "
            "(Burda et al. 2016, section 5).",
        ),
        Metric(
            "collapsed_share",
            "Collapsed latents",
            "of 1",
            False,
            "Share of the latents that are not active: those that the model has, and does not use.",
        ),
        Metric(
            "round_trip_error",
            "Round-trip error",
            "grey levels",
            False,
            "Largest difference between dequantised held-out images and their image under the flow and its inverse.",
        ),
        Metric(
            "outside_share",
            "Samples outside the data's range",
            "of 1",
            False,
            "Share of the pixel values of the model's own samples that lie outside the range of the data before they "
            "are clipped to it: probability that is spent on what is no image, which the bound can never win back.",
        ),
        Metric(
            "condition_number",
            "Worst conditioned 1x1 convolution",
            "",
            False,
            "Largest ratio of singular values among the flow's invertible 1x1 convolutions.",
        ),
        *_with_floor(
            "frechet_distance",
            "Fréchet distance",
            "",
            False,
            "||m - m'||² + tr(S + S' - 2 (S S')^½) of the means and covariances of features of samples and of held-out "
            "images (Heusel et al. 2017). It is biased upwards by few samples.",
        ),
        *_with_floor(
            "frechet_distance_infinity",
            "Fréchet distance, extrapolated",
            "",
            False,
            "The Fréchet distance at 1/n = 0, by a line through its values at several n "
            "(Chong & Forsyth 2020): the bias of few samples taken out.",
        ),
        *_with_floor(
            "kid",
            "Kernel distance (KID)",
            "MMD²",
            False,
            "Unbiased squared maximum mean discrepancy between features of samples and of held-out images under the "
            "cubic polynomial kernel of the Kernel Inception Distance (Bińkowski et al. 2018).",
        ),
        *_with_floor(
            "precision",
            "Precision",
            "of 1",
            True,
            "Share of samples within the manifold of held-out images, the union of balls that reach to each image's "
            "5th nearest neighbour (Kynkäänniemi et al. 2019): do samples look real?",
        ),
        *_with_floor(
            "recall",
            "Recall",
            "of 1",
            True,
            "Share of held-out images within the manifold of samples (Kynkäänniemi et al. 2019): is all of the data "
            "covered?",
        ),
        *_with_floor(
            "density",
            "Density",
            "",
            True,
            "Mean number of held-out images' balls that a sample lies in, over their 5 (Naeem et al. 2020): precision "
            "that outliers cannot inflate; 1 for real images, and more where samples crowd the densest parts.",
        ),
        *_with_floor(
            "coverage",
            "Coverage",
            "of 1",
            True,
            "Share of held-out images whose ball holds a sample (Naeem et al. 2020).",
        ),
        Metric(
            "data_copying",
            "Nearer to training images",
            "AUROC",
            None,
            "Probability that a sample is nearer to its nearest training image, in pixels, than a held-out image is to "
            "its own (after Meehan et al. 2020): 0.5 for a perfect sampler, towards 1 for one that copies.",
        ),
        Metric(
            "train_images_per_second",
            "Training speed",
            "images/s",
            True,
            "Median over epochs of training images per second, the first epoch (with its compilation) excluded.",
        ),
        Metric(
            "evaluate_images_per_second",
            "Likelihood speed",
            "images/s",
            True,
            "Median over the batches of the test evaluation, after the first, of log-weights (one for each image and "
            "importance sample) computed per second.",
        ),
        Metric(
            "sample_images_per_second",
            "Sampling speed",
            "images/s",
            True,
            "Median over timed windows of images sampled per second in large batches, after a warm-up.",
        ),
        Metric(
            "sample_latency_p50_seconds",
            "Latency of one sample, median",
            "s",
            False,
            "Median time from asking for one image to having it on the host, after a warm-up.",
        ),
        Metric(
            "sample_latency_p95_seconds",
            "Latency of one sample, 95th percentile",
            "s",
            False,
            "Time within which 95 of 100 images asked for one at a time were on the host.",
        ),
        Metric(
            "sample_latency_p99_seconds",
            "Latency of one sample, 99th percentile",
            "s",
            False,
            "Time within which 99 of 100 images asked for one at a time were on the host.",
        ),
        Metric(
            "selection_optimism",
            "Best evaluation under fresh noise",
            "bits/dim",
            None,
            "One-sample validation bound of the kept weights under fresh noise, less the value by which this "
            "evaluation was chosen among all of the run: what lucky noise may have contributed to the choice.",
        ),
        Metric(
            "best_images",
            "Images to the best evaluation",
            "images",
            None,
            "Training images seen at the evaluation with the lowest validation bits/dim: its weights are kept, judged "
            "and served.",
        ),
        Metric(
            "clipped_share",
            "Clipped steps",
            "of 1",
            None,
            "Share of the training steps whose gradient norm exceeded clip_norm and was scaled down to it.",
        ),
        Metric("parameters", "Parameters", "", False, "Number of trainable weights."),
        Metric(
            "operations_per_image",
            "Operations per image",
            "FLOP",
            False,
            "Floating-point operations of one likelihood of one image, a forward pass, as the backend counts them in "
            "its program; a multiply-add is two.",
        ),
        Metric(
            "peak_fraction",
            "Share of peak in training",
            "of 1",
            True,
            "Training operations per second, three forward passes an image, over those of a large matrix product on "
            "the same device, backend and precision.",
        ),
        Metric(
            "training_seconds",
            "Training time",
            "s",
            False,
            "Wall-clock time of training and its looks at validation; in the first run of a configuration in a process "
            "with compilation too, which later seeds share.",
        ),
        Metric(
            "first_interval_seconds",
            "First epoch",
            "s",
            False,
            "Wall-clock time of the first epoch, with compilation where the run had to compile.",
        ),
        Metric(
            "training_compile_seconds",
            "Compilation for training",
            "s",
            False,
            "First epoch less the median of those after it: tracing and compiling; near 0 where an earlier run's "
            "program served.",
        ),
        Metric(
            "evaluation_compile_seconds",
            "Compilation for evaluation",
            "s",
            False,
            "First batch of the likelihood and of sampling, each less the median of those after it.",
        ),
        Metric(
            "peak_memory_bytes",
            "Peak host memory",
            "bytes",
            False,
            "Largest resident set of the process up to the end of the run (of all runs before it in the process too).",
        ),
        Metric(
            "peak_device_memory_bytes",
            "Peak device memory",
            "bytes",
            False,
            "Largest memory in use on the accelerator up to the end of the run (of all runs before it in the process "
            "too).",
        ),
        Metric(
            "training_joules",
            "Training energy",
            "J",
            False,
            "Energy of the whole device during training, as its own meter counts it: the accelerator's (NVML), else "
            "the processor package's (RAPL).",
        ),
    )
}


@dataclass(frozen=True)
class Measurement:
    """One measured number of one run.

    ``standard_error`` is that of the mean over the ``n`` images (or windows, or blocks) that the value averages.
    ``split`` is ``train``, ``validation``, ``test``, or the name of a group without a split
    (``out_of_distribution``, ``diagnostics``, ``quality``, ``throughput``, ``cost``).

    ``monte_carlo_error`` is the standard deviation that another draw of the same number of importance samples would
    give the value, the images being the same.

    ``conditions`` says what else the value depends on: the feature extractor of a sample-quality score, the batch
    size, precision, backend and device of a speed. Values of one metric under different conditions are not comparable.
    """

    split: str
    metric: str
    value: float
    standard_error: float | None = None
    n: int | None = None
    bound: Bound | None = None
    monte_carlo_error: float | None = None
    conditions: str = ""

    @property
    def key(self) -> str:
        """The name under which the value is logged: ``split/metric``."""
        return f"{self.split}/{self.metric}"


@dataclass(frozen=True)
class EvaluationRecord:
    """One point of a learning curve.

    Attributes:
        evaluation: its number, counted from 1.
        images: training images seen so far.
        seconds: time since training began, compilation included, what watches the training excluded.
        values: means since the evaluation before by metric key, such as ``train/bits_per_dim``.
        samples: PNG of a grid of samples, drawn from the same noise at every evaluation; None where none was drawn.
    """

    evaluation: int
    images: int
    seconds: float
    values: dict[str, float]
    samples: bytes | None = field(default=None, repr=False)


PICTURES: dict[str, str] = {
    "samples": "Samples",
    "temperatures": "Samples over temperatures",
    "neighbours": "Samples and their nearest training images",
    "reconstructions": "Reconstructions",
    "interpolations": "Interpolations between held-out images",
}
"""The kinds of pictures that a run leaves, and their titles."""


@dataclass(frozen=True)
class ImageGrid:
    """A picture that a run left; ``kind`` is one of :data:`PICTURES`."""

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
        runs: one row a run: ``run_id name role family number attempt seed state reason config_hash started seconds
            url`` and one ``param.NAME`` column for each parameter. ``number`` is the trial's number within its family
            (missing for final runs), ``attempt`` counts the runs of one trial, ``started`` is a UTC timestamp,
            ``reason`` empty where there is nothing to say.
        measurements: one row a number: ``study run_id role family trial seed config_hash split metric value
            standard_error n unit higher_is_better bound importance_samples dequantisation monte_carlo_error
            conditions``.
        histories: one row a point of a learning curve: ``run_id metric step images seconds value``; ``metric`` is
            ``train/bits_per_dim`` or ``validation/bits_per_dim``, ``step`` the epoch counted from 1.
        images: the picture grids of the final runs.
        tables: by name, what the final runs measured that is more than a number: the columns of :data:`TABLES`, with
            ``run_id`` before them.
        space: for each family, the ranges of the swept parameters by name, as
            :func:`bench.study.search_space.to_json` writes them;
            empty where the study did not log any.
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
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    space: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


RUN_COLUMNS = [
    "run_id",
    "name",
    "role",
    "family",
    "number",
    "attempt",
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
    "monte_carlo_error",
    "conditions",
]
HISTORY_COLUMNS = ["run_id", "metric", "step", "images", "seconds", "value"]
TABLES: dict[str, list[str]] = {
    # One row a test image, in the order of the split: log P(x) in nats, and how well k weights determine it.
    "likelihood_by_image": ["image", "bound_nats", "monte_carlo_error", "effective_sample_size"],
    # The mean test bits/dim at k' = 1, 2, 4, ... k, from the same weights in groups of k'.
    "bound_by_samples": ["importance_samples", "bits_per_dim", "monte_carlo_error"],
    # One row a latent of a VAE.
    "latents": ["latent", "kl_nats", "variance_of_mean", "active"],
    # One row an invertible 1x1 convolution of a Glow.
    "convolutions": ["level", "step", "channels", "condition_number", "log_abs_det"],
}
"""Tables that a final run leaves beside its measurements, by name, with their columns."""
