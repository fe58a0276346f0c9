"""The result schema of the gradient study: what measuring writes and reports read. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClosedForms:
    """Measured values beside their closed forms, as frames.

    Attributes:
        quadratic: ``dimension estimator ratio ratio_error closed_form``.
        cosine: ``k_sigma estimator variance variance_error closed_form``, the variance in units of 1/σ².
        step: ``mean estimator gradient gradient_error closed_form``.
        signal_to_noise: ``samples estimator snr snr_error``.
        landing: ``offset estimator variance variance_error``.
        outcomes: ``outcome case measured standard_error closed_form tolerance``, one row per comparison; ``tolerance``
            is what rounding may add where there is no Monte Carlo error.
    """

    quadratic: pd.DataFrame
    cosine: pd.DataFrame
    step: pd.DataFrame
    signal_to_noise: pd.DataFrame
    landing: pd.DataFrame
    outcomes: pd.DataFrame


@dataclass(frozen=True)
class GradientResults:
    """All results of a gradient study.

    Attributes:
        study_id: name, data set and fingerprint.
        question: what the study asks.
        dataset: name, shapes, sizes and digest of the data.
        settings: the study's settings.
        provenance: commit, versions, device, command.
        closed_forms: measured values beside their closed forms.
        encoder_gradients: one row per estimator, latent size and k: ``latent_size samples estimator variance
            variance_error snr snr_error``; variance in (nats per image)².
        runs: one row per training run: ``estimator samples latent_size seed state reason bits_per_dim standard_error
            seconds``, bits/dim being the importance-weighted bound on test, missing where the run failed.
        histories: one row per point of a learning curve: ``estimator samples latent_size seed images bits_per_dim``,
            the one-sample bound on validation.
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
