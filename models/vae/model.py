"""The variational autoencoder."""

from __future__ import annotations

from typing import Any

import keras
import numpy.typing as npt
from keras import ops

from models.base.config import Shape
from models.base.diagnostics import Diagnosis, Run
from models.base.distributions import (
    DiagonalGaussian,
    GreyLevelDistribution,
    Tensor,
    log_mean_exp,
    standard_normal_cdf,
    standard_normal_log_prob,
    sum_event,
)
from models.base.likelihood_model import LikelihoodModel
from models.base.observations import initial_bias, observation
from models.vae import diagnostics
from models.vae.config import VAEConfig
from models.vae.gradient_estimators import ESTIMATORS, with_value
from models.vae.networks import decoder, encoder


class VAE(LikelihoodModel):
    """p(x) = ∫ p(x | z) N(z; 0, I) dz with a diagonal Gaussian q(z | x) (Kingma & Welling 2014).

    Unlike an autoencoder with a narrow middle, it samples z = μ(x) + σ(x)·ε, and its loss bounds log P(x):

        log P(x) >= ELBO = E_q[log p(x | z)] - KL(q(z | x) ‖ N(0, I))            (their eq. 3, KL in closed form)
        log P(x) >= E_q[log (1/k) Σ p(x, z_i) / q(z_i | x)]                       (Burda et al. 2016, eq. 8)

    Training maximises E_q[log p(x | z)] - β·Σ_j max(λ, KL_j), where β rises over ``kl_warmup_steps`` and λ is
    ``free_bits``, KL_j being the batch mean of latent j; or the second bound where ``training_samples`` is above 1.
    ``gradient_estimator`` can put another estimator in the place of the reparameterised gradient.
    """

    configuration: VAEConfig

    def __init__(
        self,
        config: VAEConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        self.observation_kind = settings.observation_for(self.grey_levels)
        self.parameters_per_pixel = settings.parameters_per_pixel(self.grey_levels)
        self.encoder = encoder(settings, self.image_shape, lambda: self.seed_generator)
        self.decoder = decoder(settings, self.image_shape, self.parameters_per_pixel, lambda: self.seed_generator)
        self.output_bias = self.add_weight(
            shape=(*self.image_shape, self.parameters_per_pixel), initializer="zeros", name="output_bias"
        )
        self.input_mean = self.add_weight(
            shape=self.image_shape, initializer="zeros", trainable=False, name="input_mean"
        )
        self.training_step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="training_step")
        self.trackers.append(keras.metrics.Mean(name="kl_nats"))
        self.built = True

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """(latent_size,)."""
        return (self.configuration.latent_size,)

    @property
    def prior_noise_size(self) -> int:
        """One number for each latent and one for each pixel and channel."""
        return self.configuration.latent_size + self.dimensions

    @property
    def training_samples(self) -> int:
        """Importance samples of the training objective."""
        return self.configuration.training_samples

    def initialise(self, images: Tensor) -> None:
        """Set the output bias to the marginal distribution of each pixel in ``images``, and the input's centre."""
        bias = initial_bias(
            self.observation_kind,
            images,
            self.grey_levels,
            self.configuration.mixture_components,
        )
        self.output_bias.assign(bias)
        if self.configuration.input_scaling == "centred":
            self.input_mean.assign(ops.mean(self.as_float(images), axis=0) / (self.grey_levels - 1))

    def posterior(self, images: Tensor, training: bool = False) -> DiagonalGaussian:
        """q(z | x): mean and log-scale (n, latent_size); dropout only in training."""
        scaled = self.as_float(images) / (self.grey_levels - 1)
        if self.configuration.input_scaling == "symmetric":
            scaled = 2.0 * scaled - 1.0
        scaled = scaled - self.input_mean
        return DiagonalGaussian(*ops.split(self.encoder(scaled, training=training), 2, axis=-1))

    def likelihood(self, z: Tensor, training: bool = False) -> GreyLevelDistribution:
        """p(x | z) for latents z (n, latent_size); dropout only in training."""
        outputs = ops.reshape(self.decoder(z, training=training), (-1, *self.image_shape, self.parameters_per_pixel))
        return observation(self.observation_kind, outputs + self.output_bias, self.grey_levels)

    def _reconstruction(self, images: Tensor, z: Tensor, training: bool = False) -> Tensor:
        """log p(x | z) for z (k, n, latent_size): (k, n)."""
        k = z.shape[0]
        tiled = images if k == 1 else ops.tile(images, (k, 1, 1, 1))  # (k·n, h, w, c)
        latents = ops.reshape(z, (-1, self.configuration.latent_size))  # (k·n, latent_size)
        return ops.reshape(sum_event(self.likelihood(latents, training).log_prob(tiled)), (k, -1))

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x | z) + log p(z) - log q(z | x) at z = μ(x) + σ(x)·ε; (k, n)."""
        posterior = self.posterior(images)
        z = posterior.sample(noise)
        log_ratio = sum_event(standard_normal_log_prob(z) - posterior.log_prob(z), batch_axes=2)
        return self._reconstruction(images, z) + log_ratio

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """The weighted ELBO, or the IWAE bound; with the bound proper and the KL (n,)."""
        if self.configuration.gradient_estimator != "pathwise":
            return self._estimated(images, noise, training)
        posterior = self.posterior(images, training)
        z = posterior.sample(noise)
        kl_by_latent = posterior.kl_to_standard()  # (n, latent_size)
        kl = sum_event(kl_by_latent)
        reconstruction = self._reconstruction(images, z, training)
        settings = self.configuration
        if settings.training_samples > 1:
            log_ratio = sum_event(standard_normal_log_prob(z) - posterior.log_prob(z), batch_axes=2)
            bound = log_mean_exp(reconstruction + log_ratio)
            return {"objective": bound, "bound": bound, "kl": kl}
        bound = reconstruction[0] - kl
        penalised = kl
        if settings.free_bits:
            penalised = ops.sum(ops.maximum(settings.free_bits, ops.mean(kl_by_latent, axis=0)))
        objective = reconstruction[0] - self._kl_weight(training) * penalised
        return {"objective": objective, "bound": bound, "kl": kl}

    def _estimated(self, images: Tensor, noise: Tensor, training: bool) -> dict[str, Tensor]:
        """The bound, its gradient by the configured estimator."""
        posterior = self.posterior(images, training)
        estimator = ESTIMATORS[self.configuration.gradient_estimator]
        surrogate, bound = estimator(posterior, noise, lambda z: self._reconstruction(images, z, training))
        kl = sum_event(posterior.kl_to_standard())
        return {"objective": with_value(bound, surrogate), "bound": bound, "kl": kl}

    def _kl_weight(self, training: bool) -> Tensor | float:
        settings = self.configuration
        if not settings.kl_warmup_steps:
            return settings.beta
        if training:
            self.training_step.assign_add(1.0)
        return settings.beta * ops.minimum(1.0, self.training_step / settings.kl_warmup_steps)

    def step_metrics(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of every model, and ``kl_nats``, the KL of q(z | x) to the prior."""
        return super().step_metrics(outputs) | {"kl_nats": ops.mean(outputs["kl"])}

    @property
    def objective_is_by_image(self) -> bool:
        """Not with free bits, which go by the mean KL of the batch, nor where other images make the baseline."""
        settings = self.configuration
        return not settings.free_bits and settings.gradient_estimator != "score_function_baseline"

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """z = T·ε_z, then each pixel the Φ(T·ε_x) quantile of p(x | z): its median at T = 0."""
        latent_size = self.configuration.latent_size
        noise = temperature * noise
        uniform = standard_normal_cdf(ops.reshape(noise[:, latent_size:], (-1, *self.image_shape)))
        return self.likelihood(noise[:, :latent_size]).quantile(uniform)

    def reconstruct(self, images: Tensor) -> Tensor:
        """E[x | z = μ(x)], the mean image decoded from the posterior's mean; floats in 0..Q-1."""
        return self.likelihood(self.posterior(images).mean).mean()

    def interpolate(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """E[x | z] along straight lines z = (1 - s)·μ(first) + s·μ(second): (n, m, h, w, c), floats in 0..Q-1."""
        share = ops.convert_to_tensor(shares, dtype=self.compute_dtype)[None, :, None]
        start, end = self.posterior(first).mean[:, None], self.posterior(second).mean[:, None]
        z = (1 - share) * start + share * end  # (n, m, latent_size)
        means = self.likelihood(ops.reshape(z, (-1, self.configuration.latent_size))).mean()
        return ops.reshape(means, (-1, share.shape[1], *self.image_shape))

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """What the model does with its latents: :mod:`models.vae.diagnostics`."""
        return diagnostics.diagnose(self, images, run)
