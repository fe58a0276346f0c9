"""What a user may set of the gradient study, and what it trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from bench.core.validated import validated
from bench.data.dataset import DatasetInfo
from bench.study.config import RunConfig, TrainingConfig
from models.base.config import VAEConfig

NAME = "gradient_estimators"
QUESTION = "Why is the reparameterisation trick used, and where is it not the better gradient estimator?"

LATENT_SIZE = 8
"""Latents of the VAE that is trained with every estimator, and of which k is swept."""
IMPORTANCE_SAMPLES = 8
"""k with which the VAE is trained on the IWAE bound."""
ESTIMATORS_OF_ONE_SAMPLE = ("pathwise", "score_function", "score_function_baseline", "sticking_the_landing")
ESTIMATORS_OF_MANY = ("pathwise", "doubly_reparameterised")
"""Estimators of the IWAE bound's gradient: pathwise is the one that Burda et al. (2016) train with."""

Count = Annotated[int, Field(ge=1, le=10**6)]


class GradientSettings(BaseModel):
    """Settings of the study; the attributes are the command line's options.

    Attributes:
        dataset: a registered name, an .npz file or a folder of images.
        grey_levels: values a pixel can take, where the data does not tell.
        images: training images that each VAE sees.
        batch_size: images per training step.
        seeds: training runs per estimator.
        seed: seed from which all others derive.
        draws: draws of each closed form.
        gradient_draws: gradients of the trained VAE per estimator, latent size and k.
        gradient_images: validation images in the batch that those are gradients of.
        selection_samples: importance samples of the bound on validation after training.
        backend: Keras backend.
        tracking_uri: MLflow tracking URI; None for SQLite in the output folder.
        output: folder for databases, artifacts and reports.
        smoke: as small as can be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    grey_levels: Annotated[int, Field(ge=2, le=65536)] | None = None
    images: Annotated[int, Field(ge=1, le=10**12)] = 30_000
    batch_size: Count = 64
    seeds: Annotated[int, Field(ge=1, le=1000)] = 2
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    draws: Annotated[int, Field(ge=128, le=10**8)] = 65_536
    gradient_draws: Annotated[int, Field(ge=32, le=10**6)] = 256
    gradient_images: Count = 16
    selection_samples: Count = 64
    backend: str = "tensorflow"
    tracking_uri: str | None = None
    output: Path = Path("runs")
    smoke: bool = False

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> GradientSettings:
        """Settings from option values.

        Raises:
            SettingsError: a value is out of range; the message names the option, the value and what is accepted.
        """
        settings = validated(cls, values)
        small = {"images": 256, "draws": 2048, "gradient_draws": 32, "gradient_images": 8, "selection_samples": 2}
        changes = {name: min(getattr(settings, name), value) for name, value in small.items()} | {"seeds": 1}
        return settings.model_copy(update=changes) if settings.smoke else settings

    @property
    def tracking(self) -> str:
        """Where MLflow keeps the runs."""
        return self.tracking_uri or f"sqlite:///{self.output.resolve() / 'mlflow.db'}"

    @property
    def latent_sizes(self) -> tuple[int, ...]:
        """Latent sizes at which the estimators are compared at k = 1."""
        return (LATENT_SIZE,) if self.smoke else (2, LATENT_SIZE, 32)

    @property
    def samples(self) -> tuple[int, ...]:
        """The k at which the IWAE's and the doubly reparameterised gradient are compared."""
        return (2,) if self.smoke else (2, 4, 8, 16, 32, 64)

    @property
    def trained(self) -> list[tuple[str, int]]:
        """Estimators and k that the VAE is trained with."""
        if self.smoke:
            return [("pathwise", 1), ("score_function_baseline", 1), ("doubly_reparameterised", 2)]
        return [
            *((estimator, 1) for estimator in ESTIMATORS_OF_ONE_SAMPLE),
            *((estimator, IMPORTANCE_SAMPLES) for estimator in ESTIMATORS_OF_MANY),
        ]

    def configure(self, digest: str, estimator: str, samples: int, latent_size: int = LATENT_SIZE) -> RunConfig:
        """The run that trains a VAE with an estimator."""
        looks = min(2 if self.smoke else 10, max(1, self.images // self.batch_size))
        return RunConfig(
            model=VAEConfig(
                latent_size=latent_size,
                hidden_sizes=(64, 64),
                # With relu the posterior of some seeds collapses onto the prior, and there is nothing left to compare.
                activation="tanh",
                gradient_estimator=estimator,
                training_samples=samples,
            ),
            training=TrainingConfig(
                learning_rate=1e-3, batch_size=self.batch_size, images=self.images, evaluations=looks
            ),
            dataset_digest=digest,
            backend=self.backend,
        )

    def study_id(self, info: DatasetInfo, digest: str) -> str:
        """Name, data set, and a hash of all that determines the numbers."""
        own = self.model_dump(mode="json", exclude={"output", "tracking_uri", "dataset", "smoke"})
        text = json.dumps([own, digest, self.latent_sizes, self.samples, self.trained], sort_keys=True)
        return f"{NAME}-{info.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
