"""The ladder VAE: a bound on log P(x) through several layers of latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from keras import ops

from models.base.config import Shape
from models.base.diagnostics import Diagnosis, Run
from models.base.distributions import DiagonalGaussian, GreyLevelDistribution, Tensor, sum_event
from models.base.variational import VariationalModel
from models.base.window import window
from models.ladder_vae import diagnostics
from models.ladder_vae.config import LadderVAEConfig
from models.ladder_vae.networks import BottomUp, TopDown, flat


@dataclass(frozen=True)
class Inference:
    """Latents drawn for n images, k times.

    Attributes:
        likelihood: p(x | z) of each of k·n draws.
        posteriors: q(u_l | x, z_>l) by layer, the top first: moments (k, n, height, width, latents), or (1, n, …).
        standardised: u_l by layer (k, n, height, width, latents).
    """

    likelihood: GreyLevelDistribution
    posteriors: list[DiagonalGaussian]
    standardised: list[Tensor]


class LadderVAE(VariationalModel):
    """p(x) = ∫ p(x | z) Π_l p(z_l | z_>l) dz, its latents in layers l = 1..L of which the top one is drawn first.

    A bottom-up network extracts what each layer sees of the image. The top-down network is shared: at each layer its
    state, a function of z_>l, gives the prior N(μ_p, σ_p²), and together with the image the posterior
    q(z_l | x, z_>l) (Sønderby et al. 2016; Kingma et al. 2016, section 5; Child 2021). The posterior is parameterised
    relative to the prior (Vahdat & Kautz 2020, section 3.2):

        z_l = μ_p + σ_p·u_l,    p(u_l | z_>l) = N(0, I),    q(u_l | x, z_>l) = N(Δ, exp(2δ)),

    so that the Jacobian σ_p is the same in p and q, each KL has the closed form ½ Σ (Δ² + e^2δ - 1) - δ, and

        log P(x) >= ELBO = E_q[log p(x | z) - Σ_l KL_l(z_>l)],    log w = log p(x | z) + Σ_l log N(u_l; 0, I)/q(u_l).

    Training maximises E_q[log p(x | z)] - β·Σ_l max(λ, KL_l), where β rises to 1 over ``kl_warmup_steps`` and λ is
    ``free_bits``, KL_l being the batch mean of layer l.

    Deviations from the papers: log-scales are bounded softly, a prior's to ±5 and a posterior's to ±5 beyond the
    prior's; images are halved by laying 2x2 blocks side by side, lines by 1x2 blocks; there is no batch normalisation.
    """

    configuration: LadderVAEConfig

    def __init__(
        self,
        config: LadderVAEConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        self.bottom_up = BottomUp(settings, self.seen_shape, name="bottom_up")
        outputs = self.image_shape[2] * self.parameters_per_value
        self.top_down = TopDown(settings, self.image_shape, outputs, name="top_down")
        self.latents = sum(self.top_down.sizes)
        self.built = True

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """(latents of all layers,), those of the top layer first."""
        return (self.latents,)

    @property
    def prior_noise_size(self) -> int:
        """One number for each latent and one for each pixel and channel."""
        return self.latents + self.dimensions

    @property
    def objective_is_by_image(self) -> bool:
        """Not with free bits, which go by the mean KL of the batch."""
        return not self.configuration.free_bits

    @property
    def activation_bytes(self) -> int:
        """What a 3x3 convolution of the last layer needs: its input, shifted nine times, and its output."""
        finest, taps = self.top_down.rungs[-1], math.prod(window(3, self.image_shape))
        return 4 * finest.height * finest.width * (taps + 1) * finest.channels

    def infer(self, images: Tensor, noise: Tensor) -> Inference:
        """Draw the latents of each layer from q(z_l | x, z_>l), with noise (k, n, latents)."""
        features = self.bottom_up(self.encoder_input(images))
        noises = self.top_down.split(noise)
        posteriors: list[DiagonalGaussian] = []
        drawn: list[Tensor] = []

        def standardised(layer: int, above: Tensor) -> Tensor:
            posteriors.append(self.top_down.layers[layer].posterior(above, features[layer]))
            drawn.append(posteriors[-1].sample(noises[layer]))
            return flat(drawn[-1])

        likelihood = self.observed(self.top_down.decode(standardised))
        return Inference(likelihood, posteriors, drawn)

    def decode(self, standardised: Tensor) -> GreyLevelDistribution:
        """p(x | z) of the latents whose standardised values u are given (n, latents)."""
        by_layer = self.top_down.split(standardised)
        return self.observed(self.top_down.decode(lambda layer, above: by_layer[layer]))

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(x | z) + Σ_l log p(z_l | z_>l) - log q(z_l | x, z_>l), (k, n)."""
        inference = self.infer(images, noise)
        log_weights = self.reconstruction(images, inference.likelihood, noise.shape[0])
        layers = zip(inference.posteriors, inference.standardised, self.top_down.split(noise), strict=True)
        for posterior, u, epsilon in layers:
            # log N(u; 0, 1) - log N(u; Δ, e^2δ) at u = Δ + e^δ·ε.
            log_ratio = 0.5 * (ops.square(epsilon) - ops.square(u)) + posterior.log_scale
            log_weights += sum_event(log_ratio, batch_axes=2)
        return log_weights

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """The weighted ELBO; with the bound proper and the KL of all layers (n,)."""
        inference = self.infer(images, noise)
        reconstruction = self.reconstruction(images, inference.likelihood, 1)[0]
        kl_by_layer = layer_divergences(inference)[0]  # (n, layers)
        kl = ops.sum(kl_by_layer, axis=1)
        penalised = kl
        if self.configuration.free_bits:
            penalised = ops.sum(ops.maximum(self.configuration.free_bits, ops.mean(kl_by_layer, axis=0)))
        objective = reconstruction - self.warmup(training) * penalised
        return {"objective": objective, "bound": reconstruction - kl, "kl": kl}

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """Layer by layer z_l = μ_p + σ_p·T·ε_l, then each pixel the Φ(T·ε_x) quantile of p(x | z): its median at 0."""
        noise = temperature * noise
        return self.quantiles(self.decode(noise[:, : self.latents]), noise[:, self.latents :])

    def reconstruct(self, images: Tensor) -> Tensor:
        """E[x | z] at the posterior mean of each layer, given those of the layers above; floats in 0..Q-1.

        Of one-hot symbols the likeliest.
        """
        return self.centre(self.infer(images, self._no_noise(images)).likelihood)

    def interpolate(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """E[x | z] along straight lines between the posterior means of u, of all layers together."""
        start, end = self._means(first), self._means(second)
        return self.means_between(start, end, shares, lambda u: self.centre(self.decode(u)))

    def _means(self, images: Tensor) -> Tensor:
        drawn = self.infer(images, self._no_noise(images)).standardised
        flattened = [ops.reshape(u, (-1, size)) for u, size in zip(drawn, self.top_down.sizes, strict=True)]
        return ops.concatenate(flattened, axis=-1)

    def _no_noise(self, images: Tensor) -> Tensor:
        return ops.zeros((1, ops.shape(images)[0], self.latents), dtype=self.compute_dtype)

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """What the model does with its latents: :mod:`models.ladder_vae.diagnostics`."""
        return diagnostics.diagnose(self, images, seed, run)


def layer_divergences(inference: Inference) -> Tensor:
    """KL(q(z_l | x, z_>l) ‖ p(z_l | z_>l)) of each layer, (k, n, layers)."""
    return ops.stack([sum_event(each.kl_to_standard(), batch_axes=2) for each in inference.posteriors], axis=-1)
