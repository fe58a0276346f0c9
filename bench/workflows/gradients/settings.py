"""The settings of the gradient study, and its arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field

from bench.core.digests import json_digest
from bench.study.config import TrainingConfig
from bench.study.definition import BUDGETS, Arm, Study, StudySettings
from models.vae.config import VAEConfig

NAME = "gradient_estimators"
QUESTION = "Why is the reparameterisation trick used, and where is it not the better gradient estimator?"

LATENT_SIZE = 8
"""Latents of the VAE that is trained with each estimator, and for which k varies."""
IMPORTANCE_SAMPLES = 8
"""k of training on the IWAE bound."""
ESTIMATORS_OF_ONE_SAMPLE = ("pathwise", "score_function", "score_function_baseline", "sticking_the_landing")
ESTIMATORS_OF_MANY = ("pathwise", "doubly_reparameterised")
"""Estimators of the IWAE bound's gradient; Burda et al. (2016) train with pathwise."""

Count = Annotated[int, Field(ge=1, le=10**6)]


@dataclass(frozen=True)
class Trained:
    """A VAE that is trained with a gradient estimator, k and latent size."""

    estimator: str
    samples: int = 1
    latent_size: int = LATENT_SIZE

    @property
    def name(self) -> str:
        """The name of its arm."""
        many = f"_k{self.samples}" if self.samples > 1 else ""
        size = f"_{self.latent_size}_latents" if self.latent_size != LATENT_SIZE else ""
        return f"{self.estimator}{many}{size}"

    @property
    def arm(self) -> Arm:
        """Its arm, which sweeps nothing."""
        model = VAEConfig(
            latent_size=self.latent_size,
            hidden_sizes=(64, 64),
            # With relu the posterior of some seeds collapses to the prior, and gradients cannot be compared.
            activation="tanh",
            gradient_estimator=self.estimator,
            training_samples=self.samples,
        )
        return Arm(model, training=TrainingConfig(learning_rate=1e-3), name=self.name)


class GradientSettings(StudySettings):
    """Settings of any study, and of the measurements beside training.

    Attributes:
        draws: draws of each closed form.
        gradient_draws: gradients of the trained VAE per estimator, latent size and k.
        gradient_images: validation images in the batch of these gradients.
    """

    images: Annotated[int, Field(ge=1, le=10**12)] | None = 30_000
    seeds: Annotated[int, Field(ge=1, le=1000)] = 2
    importance_samples: Count = 64
    reference_model: bool = False
    draws: Annotated[int, Field(ge=128, le=10**8)] = 65_536
    gradient_draws: Annotated[int, Field(ge=32, le=10**6)] = 256
    gradient_images: Count = 16

    def _shrink(self) -> Self:
        small = {"draws": 2048, "gradient_draws": 32, "gradient_images": 8}
        changes = {name: min(getattr(self, name), value) for name, value in small.items()} | {"seeds": 1}
        return super()._shrink().model_copy(update=changes)

    @property
    def study_settings(self) -> StudySettings:
        """The settings of the study that trains."""
        return StudySettings.model_validate(self.model_dump(include=set(StudySettings.model_fields)))

    @property
    def latent_sizes(self) -> tuple[int, ...]:
        """Latent sizes at which the estimators are compared at k = 1."""
        return (LATENT_SIZE,) if self.smoke else (2, LATENT_SIZE, 32)

    @property
    def samples(self) -> tuple[int, ...]:
        """The k at which the IWAE's and the doubly reparameterised gradient are compared."""
        return (2,) if self.smoke else (2, 4, 8, 16, 32, 64)

    @property
    def compared(self) -> list[Trained]:
        """The VAEs whose training is compared, of one latent size."""
        if self.smoke:
            return [Trained("pathwise"), Trained("score_function_baseline"), Trained("doubly_reparameterised", 2)]
        return [
            *map(Trained, ESTIMATORS_OF_ONE_SAMPLE),
            *(Trained(estimator, IMPORTANCE_SAMPLES) for estimator in ESTIMATORS_OF_MANY),
        ]

    @property
    def trained(self) -> list[Trained]:
        """All VAEs that are trained: the compared ones, and one of each other latent size."""
        others = [size for size in self.latent_sizes if size != LATENT_SIZE]
        return [*self.compared, *(Trained("pathwise", latent_size=size) for size in others)]

    @property
    def study(self) -> Study:
        """The study that trains them."""
        return Study(name=NAME, question=QUESTION, arms=tuple(each.arm for each in self.trained))

    @property
    def fingerprint(self) -> str:
        """A hash of the settings that determine the measurements beside training, and of its budget.

        A longer training of the same study leaves other weights, at which gradients are measured.
        """
        own = {"draws", "gradient_draws", "gradient_images", "seed", "smoke", *BUDGETS}
        known: dict[str, Any] = self.model_dump(include=own, mode="json")
        return json_digest(known)[:8]
