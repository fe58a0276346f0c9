"""What the gradient study leaves behind: the border between measuring and reporting. Imports no framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bench.gradients.closed_forms import ClosedForms


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
        in_the_vae: one row an estimator, latent size and k: ``latent_size samples estimator variance variance_error
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
    in_the_vae: pd.DataFrame
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
