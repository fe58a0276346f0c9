"""What the gradient study leaves behind: the border between measuring and reporting. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClosedForms:
    """Frames of what was measured beside what is known.

    Attributes:
        quadratic: ``dimension estimator ratio ratio_error closed_form``.
        cosine: ``k_sigma estimator variance variance_error closed_form``, the variance in units of 1/σ².
        step: ``mean estimator gradient gradient_error closed_form``.
        signal_to_noise: ``samples estimator snr snr_error``.
        landing: ``offset estimator variance variance_error``.
        outcomes: ``outcome case measured standard_error closed_form tolerance``, one row a comparison; ``tolerance`` is
            what rounding may add where there is no Monte Carlo error.
    """

    quadratic: pd.DataFrame
    cosine: pd.DataFrame
    step: pd.DataFrame
    signal_to_noise: pd.DataFrame
    landing: pd.DataFrame
    outcomes: pd.DataFrame


@dataclass(frozen=True)
class GradientResults:
    """Everything that was measured.

    Attributes:
        study_id: name, data set and fingerprint.
        question: what the study asks.
        dataset: what is known of the data.
        settings: the study's settings.
        provenance: commit, versions, device, command.
        closed_forms: measured beside known.
        encoder_gradients: one row an estimator, latent size and k:
            ``latent_size samples estimator variance variance_error
            snr snr_error``; variance in (nats per image)².
        runs: one row a training run: ``estimator samples latent_size seed state reason bits_per_dim standard_error
            seconds``, bits/dim being the importance-weighted bound on validation, missing where the run failed.
        histories: one row a point of a learning curve: ``estimator samples latent_size seed images bits_per_dim``, the
            one-sample bound on validation.
    """

    study_id: str
    question: str
    dataset: dict[str, object]
    settings: dict[str, object]
    provenance: dict[str, object]
    closed_forms: ClosedForms
    encoder_gradients: pd.DataFrame
    runs: pd.DataFrame
    histories: pd.DataFrame


VAE_COLUMNS = ["latent_size", "samples", "estimator", "variance", "variance_error", "snr", "snr_error"]
RUN_COLUMNS = [
    "estimator",
    "samples",
    "latent_size",
    "seed",
    "state",
    "reason",
    "bits_per_dim",
    "standard_error",
    "seconds",
]
HISTORY_COLUMNS = ["estimator", "samples", "latent_size", "seed", "images", "bits_per_dim"]
