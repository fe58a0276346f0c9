"""The result schema: what tracking writes and returns, and what reports read.

This module imports no framework, so that a report of a thousand runs compiles on a laptop without Keras.

A *run* is one trained model. Runs have a role: ``search`` (one trial of the sweep, evaluated on validation alone)
or ``final`` (the selected configuration, retrained from one seed, then measured once on test). A final run becomes
``superseded`` when a later trial is selected in place of the one that it retrained; it stays logged. The hash of a
configuration leaves the seed out: a trial and the final runs that retrain it share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

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


TRAINING_SETTINGS = frozenset(
    {
        "optimizer",
        "learning_rate",
        "warmup_steps",
        "decay",
        "clip_norm",
        "weight_average",
        "weight_decay",
        "patience",
        "rescues",
        "batch_size",
        "images",
        "evaluations",
    }
)
"""The parameters of a run that say how a model is trained; all others are the model's own."""


class BoundKind(StrEnum):
    """The kind of lower bound on log P(x) that a reported likelihood is."""

    IMPORTANCE_WEIGHTED = "importance-weighted"
    """log (1/k) Σ p(x, z_i) / q(z_i | x), z_i ~ q: Burda et al. (2016), eq. 8. k = 1 is the ELBO."""
    IMPORTANCE_WEIGHTED_DEQUANTISATION = "importance-weighted dequantisation"
    """log (1/k) Σ p(x + u_i) / q(u_i | x), u_i ~ q: Hoogeboom et al. (2021). k = 1 is the dequantised log-density."""
    EXACT = "exact"
    """log P(x) itself, without sampling, as of an autoregressive model; k is 1."""


@dataclass(frozen=True)
class Bound:
    """The bound that a reported likelihood is: its kind, its number of samples k, and the dequantisation.

    Two values are comparable when both bound the log-probability of the same discrete data from below;
    ``kind``, ``importance_samples`` and ``dequantisation`` say how tight each may be.
    """

    kind: BoundKind
    importance_samples: int
    dequantisation: str = "none"

    def __str__(self) -> str:
        if self.kind == BoundKind.EXACT:
            return "exact log-likelihood"
        dequantisation = "" if self.dequantisation == "none" else f", {self.dequantisation} dequantisation"
        return f"{self.kind} bound, k={self.importance_samples}{dequantisation}"


@dataclass(frozen=True)
class Measurement:
    """One number measured of one run.

    ``standard_error`` is that of the mean over the ``n`` images (or windows, or blocks) that the value averages.
    ``split`` is ``train``, ``validation``, ``test``, or the name of a group without a split
    (``out_of_distribution``, ``diagnostics``, ``quality``, ``throughput``, ``cost``).

    ``monte_carlo_error`` is the standard deviation that another draw of the same number of importance samples would
    give the value, the images being the same.

    ``conditions`` lists what else the value depends on: the feature extractor of a sample-quality score, the batch
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


REFERENCE_CODES = "reference_codes"
"""The group of the measurements of :class:`ReferenceCodes`: the place of a split in their names."""
REFERENCE_MODEL = "reference_model"
"""The group of those of the reference model: bits/dim, ``parameters``, ``training_seconds``, ``training_images``."""


@dataclass(frozen=True)
class ReferenceCodes:
    """What codes that are no models of the study take for the test images that its final runs are measured on.

    Attributes:
        measured: bits/dim of each code, its metric one of :data:`bench.core.metrics.CODES`; of the reference model, a
            code that was trained for it, what it cost too.
        unavailable: for the metric of each other code why it was not measured.
    """

    measured: list[Measurement] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationRecord:
    """One point of a learning curve.

    Attributes:
        evaluation: its number, from 1.
        images: training images that the weights have seen so far. Those of steps that a rescue took back are not among
            them: they left no trace in the weights, and how many there were depends on when the host noticed.
        seconds: time since training began, with compilation and with what rescues took back, without logging, pictures
            and checkpoints.
        values: by metric key, such as ``train/bits_per_dim``; of training, means since the previous evaluation, but
            ``train/rescues``, which training has where it may be rescued, is the number of rescues so far.
        samples: PNG of a grid of samples, drawn from the same noise at every evaluation; None where none was drawn.
    """

    evaluation: int
    images: int
    seconds: float
    values: dict[str, float]
    samples: bytes | None = field(default=None, repr=False)


PICTURES: dict[str, str] = {
    "data": "Real data",
    "samples": "Samples",
    "temperatures": "Samples over temperatures",
    "neighbours": "Samples and their nearest training images",
    "reconstructions": "Reconstructions",
    "interpolations": "Interpolations between held-out images",
}
"""The kinds of pictures that a run logs, and their titles."""


@dataclass(frozen=True)
class ImageGrid:
    """A picture that a run logged; ``kind`` is one of :data:`PICTURES`."""

    run_id: str
    arm: str
    kind: str
    caption: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class WonImages:
    """Test images on which one arm's likelihood lies above another's by most.

    Attributes:
        winner: the arm with the higher likelihood on them.
        loser: the other.
        images: their places among the images that final runs are measured on, the clearest first.
        png: the images in a row, in this order.
    """

    winner: str
    loser: str
    images: tuple[int, ...]
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Unbegun:
    """Trials or final runs of an arm that failed for one reason before they began, so that no run was logged.

    Attributes:
        role: ``search`` or ``final``.
        arm: the arm.
        reason: why they could not begin.
        count: how many they are.
    """

    role: Literal["search", "final"]
    arm: str
    reason: str
    count: Annotated[int, Field(ge=1, le=1_000_000)]


EQUIVALENCE = 0.01
"""The least difference in test bits/dim that matters, unless the reader sets another."""
Equivalence = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class StudyResults:
    """All that is logged of a study, finished or not.

    Attributes:
        study_id: name, data set and fingerprint, such as ``vae_vs_glow-digits-1a2b3c4d``.
        name: the study's name, such as ``vae_vs_glow``.
        question: the question that the study asks, one sentence.
        arms: the family of each arm, in the study's order.
        unavailable: for each final run, by its identifier, why each metric is missing that could not be measured.
        titles: of the families, as reports write them, where their models state one.
        swept: for each arm, the names of the swept parameters, in order; names as in ``runs`` columns
            without their ``param.`` prefix.
        dataset: ``name``, ``digest``, ``held_out`` (the digest of validation and test alone), ``source``,
            ``image_shape``, ``grey_levels``, ``sizes`` (split -> n), ``kind`` (``image``, ``text`` or ``audio``), and
            ``encoding``, ``symbols`` and ``sample_rate``, of which :mod:`bench.core.sequences` makes text and sound.
        settings: the study's settings (epochs, batch size, seeds, ...), flat.
        provenance: commit, dirty state, versions, backend, device, command.
        runs: one row per run: ``run_id name role arm family number attempt seed state reason config_hash started
            seconds url`` and one ``param.NAME`` column for each parameter. ``number`` is the trial's number within its
            arm (missing for final runs), ``attempt`` counts the runs of one trial, ``started`` is a UTC timestamp,
            ``reason`` says why a run did not complete.
        measurements: one row per number: ``study run_id role arm family trial seed config_hash split metric value
            standard_error n unit higher_is_better bound importance_samples dequantisation monte_carlo_error
            conditions``.
        histories: one row per point of a learning curve: ``run_id metric step images seconds value``; ``metric`` is
            ``train/bits_per_dim`` or ``validation/bits_per_dim``, ``step`` the number of the evaluation, from 1.
        images: the picture grids of the final runs.
        tables: tables of the final runs by name: ``run_id``, then the columns of :data:`TABLES`.
        space: for each arm, the ranges of the swept parameters by name, as :func:`bench.study.search_space.to_json`
            writes them; empty where the study logged none.
        reference_codes: what simple codes and file formats take for the test images; empty in studies that have not
            ended, and in those of earlier versions.
        unbegun: the trials and final runs that failed before they had a run.
        equivalence: the least difference in test bits/dim that matters to the reader.
        promoted: for each arm of which a person had trials trained to the whole budget, though others were the better
            half, the numbers of these trials.
        won_images: pictures of test images that one arm models better than another, logged with the study at its end.
    """

    study_id: str
    name: str
    question: str
    arms: dict[str, str]
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
    titles: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, dict[str, str]] = field(default_factory=dict)
    reference_codes: ReferenceCodes = field(default_factory=ReferenceCodes)
    unbegun: list[Unbegun] = field(default_factory=list)
    equivalence: float = EQUIVALENCE
    won_images: list[WonImages] = field(default_factory=list)
    promoted: dict[str, list[int]] = field(default_factory=dict)


RUN_COLUMNS = [
    "run_id",
    "name",
    "role",
    "arm",
    "family",
    "number",
    "attempt",
    "continued_from",
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
    "arm",
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
    # One row per test image, in the order of the split: log P(x) in nats, and how well k weights determine it.
    "likelihood_by_image": ["image", "bound_nats", "monte_carlo_error", "effective_sample_size"],
    # The mean test bits/dim at k' = 1, 2, 4, ... k, from the same weights in groups of k'.
    "bound_by_samples": ["importance_samples", "bits_per_dim", "monte_carlo_error"],
    # One row per share of the budget (1/8, 1/4, 1/2 and 1): the test bound of the best weights until then.
    "budgets": ["images", "evaluation", "bits_per_dim", "standard_error", "importance_samples"],
    # One row per latent of a VAE, ladder or not.
    "latents": ["latent", "kl_nats", "variance_of_mean", "active"],
    # One row per layer of latents of a ladder VAE, the top one first.
    "latent_layers": ["layer", "latents", "kl_nats", "active_units"],
    # One row per invertible 1x1 convolution of a Glow.
    "convolutions": ["level", "step", "channels", "condition_number", "log_abs_det"],
    # Of text and sound: one row per integer of some held-out sequences and of some samples (drawn: 0 or 1).
    "sequences": ["drawn", "sequence", "position", "value"],
}
"""Tables that a final run logs beside its measurements, by name, with their columns."""
