"""Glow, whole: Kingma & Dhariwal (2018)."""

from __future__ import annotations

import math
from typing import Any, cast

import keras
import numpy.typing as npt
from keras import ops

from models.base.config import BatchShape, Shape
from models.base.diagnostics import Diagnosis, Run
from models.base.distributions import DiagonalGaussian, Tensor, standard_normal_cdf, sum_event
from models.base.draws import standard_normal
from models.base.window import Window, window
from models.bijections.base import Chain, in_pieces
from models.bijections.coupling import CheckerboardCoupling, Coupling
from models.bijections.coupling_networks import NetworkOf, ZeroConvolution, network_of
from models.bijections.elementwise import elementwise_of
from models.bijections.flow_step import FlowStep
from models.bijections.invertible_convolution import LUConvolution, PlainConvolution
from models.bijections.repeated import Repeated
from models.bijections.squeeze import Squeeze
from models.flows.model import FlowModel
from models.glow import diagnostics
from models.glow.config import GlowConfig, activation_bytes


class TopPrior(keras.layers.Layer):
    """Prior of the last latent: mean and log-scale per channel, plus an offset per class where there are classes.

    Without labels, a class-conditional prior is the mixture of its classes at equal weights, so that log P(x) stays
    comparable with that of a model without classes.
    """

    def __init__(self, channels: int, classes: int, learned: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes
        self.moments = self.add_weight(shape=(2 * channels,), initializer="zeros", trainable=learned, name="moments")
        self.class_moments = self.add_weight(
            shape=(max(classes, 1), 2 * channels), initializer="zeros", trainable=classes > 0, name="class_moments"
        )
        self.built = True

    def given(self, labels: Tensor) -> DiagonalGaussian:
        """p(z | y) for labels (m,): mean and log-scale (m, 1, 1, c)."""
        moments = self.moments + ops.take(self.class_moments, ops.cast(labels, "int32"), axis=0)
        return DiagonalGaussian(*ops.split(moments[:, None, None, :], 2, axis=-1))

    def log_prob(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """log p(z | y), or log (1/C) Σ_y p(z | y) without labels; (n,)."""
        if labels is not None and self.classes:
            return sum_event(self.given(labels).log_prob(z))
        every = self.given(ops.arange(max(self.classes, 1)))
        by_class = sum_event(every.log_prob(z[:, None]) if self.classes else every.log_prob(z)[:, None], batch_axes=2)
        return ops.logsumexp(by_class, axis=1) - math.log(max(self.classes, 1))


class SplitPrior(keras.layers.Layer):
    """Prior of the half that a split factors out, conditioned on the half that is kept (their section 3.6)."""

    def __init__(self, channels: int, size: Window = (3, 3), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = ZeroConvolution(2 * channels, size, name="convolution")

    def build(self, shape: BatchShape) -> None:
        """Build the zero-initialised convolution."""
        self.convolution.build(shape)
        self.built = True

    def call(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale (n, h, w, channels) from the kept half (n, h, w, c)."""
        mean, log_scale = ops.split(self.convolution(kept), 2, axis=-1)
        return mean, log_scale


class Glow(FlowModel):
    """An invertible map from images to latents of known density, and exact log-densities through it.

    The integer image is dequantised, v = (x + u)/Q with u in [0, 1), preprocessed, and passes ``checkerboard_steps``
    steps of flow at full resolution, then L ``levels`` of a squeeze and K ``flow_depth`` steps; after each level but
    the last, half of the channels are factored out. A step is an actnorm, an invertible 1x1 convolution and a coupling:
    by the pixels of a checkerboard at full resolution, by channels behind a squeeze. By the change of variables (their
    eq. 3) and Jensen's inequality,

        log P(x) >= E_u[log p(v(u)) - D log Q - log q(u | x)],    log p(v) = log p(z) + Σ log |det ∂h_i/∂h_{i-1}|,

    where the first of the h_i is the preprocessed image.

    Deviations from the paper: the coupling networks have biases and no actnorm of their own, and learn at the
    model's common rate.
    """

    configuration: GlowConfig

    def __init__(
        self,
        config: GlowConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        shape: BatchShape = (None, *self.continuous_shape)
        block, kernel = window(2, self.image_shape), window(3, self.image_shape)
        self.checkerboard = (
            self._repeated(CheckerboardCoupling, settings.checkerboard_steps, "checkerboard")
            if settings.checkerboard_steps
            else None
        )
        if self.checkerboard is not None:
            self.checkerboard.build(shape)
        self.chains: list[Chain] = []
        self.split_priors: list[SplitPrior] = []
        self.latent_shapes: list[Shape] = []
        for level in range(settings.levels):
            steps = self._repeated(Coupling, settings.flow_depth, "steps")
            chain = Chain([Squeeze(block), steps], name=f"level_{level}")
            chain.build(shape)
            shape = chain.compute_output_shape(shape)
            self.chains.append(chain)
            _, height, width, channels = shape
            if level < settings.levels - 1:
                factored = channels // 2
                prior = SplitPrior(factored, kernel, name=f"split_prior_{level}")
                shape = (None, height, width, channels - factored)
                prior.build(shape)
                self.split_priors.append(prior)
                channels = factored
            self.latent_shapes.append((height, width, channels))
        if not settings.levels:
            self.latent_shapes = [self.continuous_shape]
        self.top_prior = TopPrior(
            self.latent_shapes[-1][-1], settings.classes, settings.learned_top_prior, name="top_prior"
        )
        self.built = True

    def _repeated(self, coupling: type[Coupling], depth: int, name: str) -> Repeated:
        settings = self.configuration
        convolution = LUConvolution if settings.permutation == "lu" else PlainConvolution
        elementwise = elementwise_of(settings.coupling, settings.coupling_components)

        def step() -> FlowStep:
            return FlowStep(convolution(), coupling(elementwise, self.dequantisation_network))

        return Repeated(step, depth, settings.recompute, name=name)

    @property
    def dequantisation_network(self) -> NetworkOf:
        """Networks of the kind that the couplings have."""
        settings = self.configuration
        kernel = window(3, self.image_shape)
        return network_of(settings.network, settings.hidden_channels, settings.blocks, kernel)

    @property
    def last_hidden_channels(self) -> int:
        """The width of the coupling networks."""
        return self.configuration.hidden_channels

    @property
    def repeated(self) -> list[Repeated]:
        """All steps of flow, by resolution: those of the checkerboard, where there are any, and of each level."""
        levels = [cast(Repeated, chain.bijections[1]) for chain in self.chains]
        return levels if self.checkerboard is None else [self.checkerboard, *levels]

    @property
    def prior_noise_size(self) -> int:
        """That of every flow, and one more number to pick a class where there are classes."""
        return super().prior_noise_size + (1 if self.configuration.classes else 0)

    @property
    def classes(self) -> int:
        """Classes that condition the prior of the last latent."""
        return self.configuration.classes

    @property
    def activation_bytes(self) -> int:
        """What a coupling at the highest resolution needs."""
        return activation_bytes(self.configuration, self.image_shape)

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """Whether the flow is still invertible in its precision: :mod:`models.glow.diagnostics`."""
        return diagnostics.diagnose(self, images, seed, run)

    def encode(
        self, v: Tensor, labels: Tensor | None = None, masks: list[Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """All latents of continuous images v (n, h, w, c), finest first, and log p(v) (n,).

        ``masks`` are those of dropout on the networks' hidden channels, by resolution; None leaves all.
        """
        latents: list[Tensor] = []
        keeps = iter(masks or [None] * len(self.repeated))
        y, log_prob = self.preprocessing(v)
        if self.checkerboard is not None:
            y, log_det = self.checkerboard.forward(y, next(keeps))
            log_prob = log_prob + log_det
        for level, chain in enumerate(self.chains):
            squeeze, steps = chain.bijections
            y, _ = squeeze(y)
            y, log_det = cast(Repeated, steps).forward(y, next(keeps))
            log_prob = log_prob + log_det
            if level < len(self.split_priors):
                y, z = self._split(y, level)
                prior = DiagonalGaussian(*self.split_priors[level](y))
                log_prob = log_prob + sum_event(prior.log_prob(z))
                latents.append(z)
        latents.append(y)
        return latents, log_prob + self.top_prior.log_prob(y, labels)

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Continuous images v (n, h, w, c) from all latents: the exact inverse of :meth:`encode`."""
        y = latents[-1]
        for level in reversed(range(len(self.chains))):
            if level < len(self.split_priors):
                y = ops.concatenate([y, latents[level]], axis=-1)
            y = self.chains[level].inverse(y)
        return self.preprocessing.inverse(self._undo_checkerboard(y))

    def _undo_checkerboard(self, y: Tensor) -> Tensor:
        return y if self.checkerboard is None else self.checkerboard.inverse(y)

    def _split(self, y: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """The channels that are kept, and those that are factored out."""
        factored = self.latent_shapes[level][-1]
        return y[..., :-factored], y[..., -factored:]

    def initialise(self, images: Tensor) -> None:
        """Fit the preprocessing to ``images``; have every actnorm give mean 0 and variance 1 on them."""
        super().initialise(images)
        shape = (images.shape[0], *self.continuous_shape)
        noise = standard_normal(shape, self.compute_dtype, self.seed_generator)
        channels = self.image_shape[-1]

        def dequantised(both: Tensor) -> Tensor:
            x, noise = both[..., :channels], both[..., channels:]
            return ops.concatenate([x, self.dequantise(x, noise)[0]], axis=-1)

        both = in_pieces(dequantised, ops.concatenate([self.as_float(images), noise], axis=-1))
        y, _ = self.preprocessing(both[..., channels:])
        if self.checkerboard is not None:
            y = self.checkerboard.initialise(y)
        for level, chain in enumerate(self.chains):
            y = chain.initialise(y)
            if level < len(self.split_priors):
                y, _ = self._split(y, level)

    def draw(self, noise: Tensor, temperature: Tensor | float, labels: Tensor | None) -> Tensor:
        """Preprocessed images (n, h, w, c); where there are classes and no labels, each class is as likely."""
        if not self.configuration.classes:
            labels = ops.zeros_like(noise[:, 0])
        elif labels is None:
            labels = ops.floor(standard_normal_cdf(noise[:, -1]) * self.configuration.classes)
        parts = self._latent_noise(temperature * noise[:, : math.prod(self.continuous_shape)])
        y = self.top_prior.given(labels).sample(parts[-1])
        for level in reversed(range(len(self.chains))):
            if level < len(self.split_priors):
                prior = DiagonalGaussian(*self.split_priors[level](y))
                y = ops.concatenate([y, prior.sample(parts[level])], axis=-1)
            y = self.chains[level].inverse(y)
        return self._undo_checkerboard(y)

    def _latent_noise(self, noise: Tensor) -> list[Tensor]:
        """A noise vector, of a number for each latent, cut into the latents' shapes."""
        parts: list[Tensor] = []
        start = 0
        for shape in self.latent_shapes:
            size = math.prod(shape)
            parts.append(ops.reshape(noise[:, start : start + size], (-1, *shape)))
            start += size
        return parts
