"""The variational autoencoder."""

from __future__ import annotations

import math
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
    sum_event,
)
from models.base.draws import standard_normal
from models.base.observations import observation
from models.base.variational import VariationalModel
from models.vae import diagnostics
from models.vae.config import VAEConfig, activation_bytes
from models.vae.gradient_estimators import ESTIMATORS, Joint, log_ratio, with_value
from models.vae.networks import decoder, encoder
from models.vae.priors import CouplingFlow, FlowPrior, PosteriorMixture, Prior, StandardNormal
from models.vae.recurrent import RecurrentDecoder

LEAST_PSEUDO_INPUT = 0.05
"""Distance of a pseudo-input from the ends of the pixels' range at first: beyond them it would not be trained."""
PSEUDO_INPUT_NOISE = 0.01
"""Standard deviation by which pseudo-inputs differ at first, as in the code of Tomczak & Welling (2018)."""


class VAE(VariationalModel):
    """P(x) = ∫ p(x | z) p(z) dz with a diagonal Gaussian q(z | x) (Kingma & Welling 2014); p(z) is N(0, I) or learned.

    Unlike an autoencoder with a narrow middle, it samples z = μ(x) + σ(x)·ε, and its loss bounds log P(x):

        log P(x) >= ELBO = E_q[log p(x | z)] - KL(q(z | x) ‖ p(z))                              (their eq. 3)
        log P(x) >= E_q[log (1/k) Σ p(x, z_i) / q(z_i | x)]                       (Burda et al. 2016, eq. 8)

    The KL to N(0, I) has a closed form; that to another prior is estimated by log q(z | x) - log p(z) at the same z.

    Training maximises E_q[log p(x | z)] - β·Σ_j max(λ, KL_j), where β rises over ``kl_warmup_steps`` and λ is
    ``free_bits``, KL_j being the batch mean of latent j; or the second bound where ``training_samples`` is above 1.
    With ``network=recurrent``, p(x | z) = Π_d p(x_d | x_<d, z) (Bowman et al. 2016); with any other, Π_d p(x_d | z).
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
        self.encoder = encoder(settings, self.seen_shape, self.dimensions, lambda: self.seed_generator)
        self.decoder: keras.Sequential | RecurrentDecoder = self._decoder()
        if settings.prior == "vamp":
            # In the middle of the pixels' range, should `initialise` never be called.
            self.pseudo_inputs = self.add_weight(
                shape=(settings.pseudo_inputs, *self.image_shape),
                initializer=keras.initializers.RandomNormal(0.5, PSEUDO_INPUT_NOISE),
                name="pseudo_inputs",
            )
        if settings.prior == "flow":
            self.flow = CouplingFlow(settings.prior_couplings, settings.prior_width, name="flow")
            self.flow.build((None, settings.latent_size))
        self.built = True

    def _decoder(self) -> keras.Sequential | RecurrentDecoder:
        settings, outputs = self.configuration, self.parameters_per_value
        if settings.network != "recurrent":
            return decoder(settings, self.image_shape, outputs, lambda: self.seed_generator)
        return RecurrentDecoder(
            settings.latent_size,
            math.prod(self.seen_shape) // self.dimensions,
            settings.hidden_channels,
            outputs,
            settings.symbol_dropout,
            settings.dropout,
            lambda: self.seed_generator,
            name="decoder",
        )

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """(latent_size,)."""
        return (self.configuration.latent_size,)

    @property
    def latent_noise_size(self) -> int:
        """Length of the noise that :meth:`prior` makes a z of: a number for each latent, and one for a component."""
        return self.configuration.latent_size + (self.configuration.prior == "vamp")

    @property
    def prior_noise_size(self) -> int:
        """The noise of z, and a number for each pixel and channel."""
        return self.latent_noise_size + self.dimensions

    @property
    def training_samples(self) -> int:
        """Importance samples of the training objective."""
        return self.configuration.training_samples

    def initialise(self, images: Tensor) -> None:
        """Set the output bias to the marginal distribution of each pixel in ``images``, and the input's centre.

        Pseudo-inputs begin near the mean image, each with noise of its own.
        """
        super().initialise(images)
        if self.configuration.prior == "vamp":
            inside = ops.clip(ops.convert_to_tensor(self.input_mean), LEAST_PSEUDO_INPUT, 1.0 - LEAST_PSEUDO_INPUT)
            noise = standard_normal(self.pseudo_inputs.shape, self.compute_dtype, self.seed_generator)
            self.pseudo_inputs.assign(inside + PSEUDO_INPUT_NOISE * noise)

    def posterior(self, images: Tensor, training: bool = False) -> DiagonalGaussian:
        """q(z | x): mean and log-scale (n, latent_size); dropout only in training."""
        seen = self.encoder_input(images)
        return DiagonalGaussian(*ops.split(self.encoder(seen, training=training), 2, axis=-1))

    def prior(self, training: bool = False) -> Prior:
        """p(z); dropout, of the encoder that a VampPrior takes, only in training.

        Pseudo-inputs are pixels x/(Q-1), clipped to their range.
        """
        if self.configuration.prior == "vamp":
            pixels = ops.clip(self.pseudo_inputs, 0.0, 1.0)
            return PosteriorMixture(self.posterior(pixels * (self.grey_levels - 1), training))
        return FlowPrior(self.flow) if self.configuration.prior == "flow" else StandardNormal()

    def likelihood(self, z: Tensor, training: bool = False) -> GreyLevelDistribution:
        """p(x | z) for latents z (n, latent_size); dropout only in training."""
        return self.observed(self.decoder(z, training=training))

    def conditionals(self, images: Tensor, z: Tensor, training: bool = False) -> GreyLevelDistribution:
        """p(x_d | x_<d, z) of images (n, h, w, c) for latents z (n, latent_size); dropout only in training.

        It is p(x_d | z) but for a recurrent decoder.
        """
        if not isinstance(self.decoder, RecurrentDecoder):
            return self.likelihood(z, training)
        seen = self.encoder_input(images)
        sequence = ops.reshape(seen, (-1, self.dimensions, math.prod(self.seen_shape) // self.dimensions))
        return self.observed(self.decoder(z, sequence, training=training))

    def _reconstruction(self, images: Tensor, z: Tensor, training: bool = False) -> Tensor:
        """log p(x | z) for z (k, n, latent_size): (k, n)."""
        latents, k = ops.reshape(z, (-1, self.configuration.latent_size)), z.shape[0]  # (k·n, latent_size)
        tiled = images if k == 1 else ops.tile(images, (k, 1, 1, 1))  # (k·n, h, w, c)
        return ops.reshape(sum_event(self.conditionals(tiled, latents, training).log_prob(tiled)), (k, -1))

    def written(self, z: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Images that a recurrent decoder writes from z (n, latent_size), value after value: int32 (n, h, w, c).

        Each value is the quantile of p(x_d | x_<d, z) at its uniform number (n, dimensions); where none are given, the
        level next to its mean, and the likeliest of one-hot symbols.
        """
        unit: Any = self.decoder
        state, beside = unit.begin(z)
        bias = ops.reshape(ops.convert_to_tensor(self.output_bias), (self.dimensions, -1))
        mean = ops.reshape(ops.convert_to_tensor(self.input_mean), (-1,))

        def value(d: Tensor, carried: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            values, seen, state = carried
            state = unit.recurrence.step(state, unit.recurrence.driven(seen) + beside)
            likelihood = observation(self.observation_kind, unit.last(state) + bias[d], self.grey_levels)
            drawn = self.likeliest(likelihood) if uniform is None else likelihood.quantile(uniform[:, d])
            return ops.slice_update(values, (0, d), drawn[:, None]), self.seen(drawn[:, None], mean[d]), state

        values = ops.zeros((ops.shape(z)[0], self.dimensions), dtype="int32")
        seen = ops.zeros((ops.shape(z)[0], math.prod(self.seen_shape) // self.dimensions), dtype=z.dtype)
        values, _, _ = ops.fori_loop(0, self.dimensions, value, (values, seen, state))
        return ops.reshape(values, (-1, *self.image_shape))

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x | z) + log p(z) - log q(z | x) at z = μ(x) + σ(x)·ε; (k, n)."""
        posterior = self.posterior(images)
        z = posterior.sample(noise)
        return self._reconstruction(images, z) + log_ratio(self.prior(), posterior, z)

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """The weighted ELBO, or the IWAE bound; with the bound proper and the KL (n,)."""
        if self.configuration.gradient_estimator != "pathwise":
            return self._estimated(images, noise, training)
        posterior = self.posterior(images, training)
        z = posterior.sample(noise)
        prior = self.prior(training)
        ratio = log_ratio(prior, posterior, z)
        kl = prior.kl(posterior, ratio)
        reconstruction = self._reconstruction(images, z, training)
        settings = self.configuration
        if settings.training_samples > 1:
            bound = log_mean_exp(reconstruction + ratio)
            return {"objective": bound, "bound": bound, "kl": kl}
        bound = reconstruction[0] - kl
        penalised = kl
        if settings.free_bits:
            penalised = ops.sum(ops.maximum(settings.free_bits, ops.mean(posterior.kl_to_standard(), axis=0)))
        objective = reconstruction[0] - settings.beta * self.warmup(training) * penalised
        return {"objective": objective, "bound": bound, "kl": kl}

    def _estimated(self, images: Tensor, noise: Tensor, training: bool) -> dict[str, Tensor]:
        """The bound, its gradient by the configured estimator."""
        posterior = self.posterior(images, training)
        estimator = ESTIMATORS[self.configuration.gradient_estimator]
        joint = Joint(lambda z: self._reconstruction(images, z, training), self.prior(training))
        surrogate, bound, kl = estimator(posterior, noise, joint)
        return {"objective": with_value(bound, surrogate), "bound": bound, "kl": kl}

    @property
    def objective_is_by_image(self) -> bool:
        """Not with free bits, which go by the mean KL of the batch, nor where other images make the baseline.

        Nor with dropout, whose draws are of the whole batch.
        """
        settings = self.configuration
        alone = settings.gradient_estimator != "score_function_baseline"
        return alone and not (settings.free_bits or settings.dropout or settings.symbol_dropout)

    @property
    def activation_bytes(self) -> int:
        """The outputs of convolutional layers; 0 with others, and where each piece would encode pseudo-inputs."""
        settings = self.configuration
        if settings.network in ("dense", "recurrent") or settings.prior == "vamp":
            return 0
        return activation_bytes(settings, self.image_shape, self.grey_levels)

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """z of the prior at T, then each pixel the Φ(T·ε_x) quantile of p(x | z): its median at T = 0.

        Of a recurrent decoder, of p(x_d | x_<d, z).
        """
        of_latents, of_pixels = noise[:, : self.latent_noise_size], noise[:, self.latent_noise_size :]
        z = self.prior().from_noise(of_latents, temperature)
        if isinstance(self.decoder, RecurrentDecoder):
            return self.written(z, standard_normal_cdf(temperature * of_pixels))
        return self.quantiles(self.likelihood(z), temperature * of_pixels)

    def reconstruct(self, images: Tensor) -> Tensor:
        """E[x | z = μ(x)], the mean image decoded from the posterior's mean; floats in 0..Q-1.

        Of one-hot symbols the likeliest; of a recurrent decoder what it writes without noise.
        """
        return self._mean(self.posterior(images).mean)

    def _mean(self, z: Tensor) -> Tensor:
        if isinstance(self.decoder, RecurrentDecoder):
            return self.as_float(self.written(z))
        return self.centre(self.likelihood(z))

    def interpolate(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """E[x | z] along straight lines z = (1 - s)·μ(first) + s·μ(second): (n, m, h, w, c), floats in 0..Q-1."""
        start, end = (self.posterior(images).mean for images in (first, second))
        return self.means_between(start, end, shares, self._mean)

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """What the model does with its latents: :mod:`models.vae.diagnostics`."""
        return diagnostics.diagnose(self, images, seed, run)
