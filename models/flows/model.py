"""A flow of dequantised images: what every family of them does alike."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import keras
import numpy.typing as npt
from keras import ops

from models.base.config import Shape
from models.base.diagnostics import Diagnosis, Run
from models.base.distributions import Tensor, as_grey_levels, standard_normal_cdf
from models.base.likelihood_model import LikelihoodModel
from models.base.window import window
from models.bijections.base import Chain
from models.bijections.coupling_networks import NetworkOf
from models.bijections.preprocessing import Marginal, Preprocessing, preprocessing
from models.bijections.repeated import Repeated
from models.flows import diagnostics
from models.flows.categorical_encoding import CategoricalEncoding
from models.flows.config import FlowConfig
from models.flows.dequantisation import UniformDequantisation, VariationalDequantisation


class FlowModel(LikelihoodModel):
    """An invertible map from images to latents of known density, and exact log-densities through it.

    The integer image is dequantised, v = (x + u)/Q with u in [0, 1), preprocessed, and mapped to latents z. By the
    change of variables and Jensen's inequality (Theis et al. 2016, section 3.1; Ho et al. 2019, section 3.1),

        log P(x) >= E_u[log p(v(u)) - D log Q - log q(u | x)],    log p(v) = log p(z) + log |det ∂z/∂v|.

    Symbols without an order are encoded in place of that (:mod:`models.flows.categorical_encoding`): v has the shape
    (h, w, c·d), is not preprocessed, and

        log P(x) >= E_q[log p(v) + log p(x | v) - log q(v | x)].

    A family gives :meth:`encode`, :meth:`decode`, :meth:`draw`, and what its networks are.
    """

    configuration: FlowConfig

    def __init__(
        self,
        config: FlowConfig | dict[str, Any],
        image_shape: Shape,
        grey_levels: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, image_shape, grey_levels, **kwargs)
        settings = self.configuration
        self.continuous_shape = settings.continuous_shape(self.image_shape)
        self.dequantisation = self._dequantisation()
        self.dequantisation.build((None, *self.image_shape))
        self.preprocessing: Preprocessing | Chain = (
            Chain([], name="preprocessing")
            if settings.dequantisation == "categorical"
            else preprocessing(settings.preprocessing, settings.alpha, self.grey_levels)
        )
        self.preprocessing.build((None, *self.continuous_shape))

    def _dequantisation(self) -> UniformDequantisation | VariationalDequantisation | CategoricalEncoding:
        settings = self.configuration
        if settings.dequantisation == "uniform":
            return UniformDequantisation(name="dequantisation")
        if settings.dequantisation == "variational":
            depth, block = settings.dequantisation_depth, window(2, self.image_shape)
            return VariationalDequantisation(depth, self.dequantisation_network, block, name="dequantisation")
        return CategoricalEncoding(settings.encoding_channels, self.grey_levels, name="dequantisation")

    # What a family provides.

    @property
    @abstractmethod
    def dequantisation_network(self) -> NetworkOf:
        """What makes the networks of a variational dequantisation."""

    @property
    @abstractmethod
    def repeated(self) -> list[Repeated]:
        """All steps of flow, in the order in which an image passes them."""

    @property
    @abstractmethod
    def last_hidden_channels(self) -> int:
        """The channels of its coupling networks that dropout leaves out."""

    @abstractmethod
    def encode(
        self, v: Tensor, labels: Tensor | None = None, masks: list[Tensor] | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """All latents of continuous images v (n, h, w, c), and log p(v) (n,).

        ``masks`` are those of dropout on the networks' hidden channels, one for each of :attr:`repeated`; None leaves
        all.
        """

    @abstractmethod
    def decode(self, latents: list[Tensor]) -> Tensor:
        """Continuous images v (n, h, w, c) from all latents: the exact inverse of :meth:`encode`."""

    @abstractmethod
    def draw(self, noise: Tensor, temperature: Tensor | float, labels: Tensor | None) -> Tensor:
        """Preprocessed images (n, h, w, c): each latent μ + T·σ·ε under its prior, then the inverse map."""

    # What all flows share.

    @property
    def posterior_noise_shape(self) -> tuple[int, ...]:
        """(h, w, c): one number for each dimension, which becomes the dequantisation; (h, w, c·d) for an encoding."""
        return self.continuous_shape

    @property
    def prior_noise_size(self) -> int:
        """One number for each latent; and D, by which symbols are drawn from p(x | v), where they are encoded."""
        return self.drawn_symbols + math.prod(self.continuous_shape)

    @property
    def drawn_symbols(self) -> int:
        """D where a sample's symbols are drawn from p(x | v), which takes the first numbers of its noise; else 0."""
        return self.dimensions if isinstance(self.dequantisation, CategoricalEncoding) else 0

    @property
    def dequantisation_name(self) -> str:
        """``uniform``, ``variational`` or ``categorical``."""
        return self.configuration.dequantisation

    @property
    def objective_is_by_image(self) -> bool:
        """Not with dropout, whose draws are of the whole batch."""
        return not self.configuration.dropout

    def diagnose(self, images: npt.NDArray[Any], seed: int, run: Run) -> Diagnosis:
        """Whether the flow is still invertible in its precision: :mod:`models.flows.diagnostics`."""
        return diagnostics.diagnose(self, images, seed, run)

    def dequantise(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """v = (x + u)/Q (n, h, w, c) and log q(u | x) (n,) for noise (n, h, w, c).

        Of symbols that are encoded, v (n, h, w, c·d) and log q(v | x) - log p(x | v), for noise of that shape.
        """
        if isinstance(self.dequantisation, CategoricalEncoding):
            return self.dequantisation.encode(images, noise)
        x = self.as_float(images)
        u, log_q = self.dequantisation.dequantise(x / self.grey_levels - 0.5, noise)
        return (x + u) / self.grey_levels, log_q

    def initialise(self, images: Tensor) -> None:
        """Fit the preprocessing, or the encoding's shares of symbols, to ``images``."""
        for part in (self.dequantisation, self.preprocessing):
            if isinstance(part, CategoricalEncoding | Marginal):
                part.fit(images)

    def objective(self, images: Tensor, noise: Tensor, labels: Tensor | None, training: bool) -> dict[str, Tensor]:
        """The one-sample bound; in training with ``dropout`` of the networks' hidden channels (Tompson et al. 2015)."""
        if not (training and self.configuration.dropout):
            return super().objective(images, noise, labels, training)
        n, masks = ops.shape(images)[0], []
        for steps in self.repeated:
            whole = ops.ones((steps.depth, n, 1, 1, self.last_hidden_channels), dtype=self.compute_dtype)
            masks.append(keras.random.dropout(whole, self.configuration.dropout, seed=self.seed_generator))
        bound = self._log_weights(images, noise, labels, masks)[0]
        return {"objective": bound, "bound": bound}

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(v) - D log Q - log q(u | x) at u = u(ε), or log p(v) + log p(x | v) - log q(v | x); (k, n)."""
        return self._log_weights(images, noise, labels)

    def _log_weights(
        self, images: Tensor, noise: Tensor, labels: Tensor | None, masks: list[Tensor] | None = None
    ) -> Tensor:
        k = noise.shape[0]
        tiled = images if k == 1 else ops.tile(images, (k, 1, 1, 1))  # (k·n, h, w, c)
        if labels is not None and k > 1:
            labels = ops.tile(labels, (k,))
        v, log_q = self.dequantise(tiled, ops.reshape(noise, (-1, *self.continuous_shape)))
        _, log_prob = self.encode(v, labels, masks)
        cells = 0.0 if self.drawn_symbols else self.dimensions * math.log(self.grey_levels)
        return ops.reshape(log_prob - log_q - cells, (k, -1))

    def generate(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """The grey level that each value of :meth:`continuous` lies in; those outside the cube get the nearest.

        A latent far out may leave the floating type's range on its way back: the value is then -1, and no grey level.
        An encoded symbol is the Φ(T·ε) quantile of p(x | v), by number: at T = 1 a draw from it.
        """
        if isinstance(self.dequantisation, CategoricalEncoding):
            of_symbols, of_latents = noise[:, : self.drawn_symbols], noise[:, self.drawn_symbols :]
            uniform = standard_normal_cdf(ops.reshape(temperature * of_symbols, (-1, *self.image_shape)))
            return self.dequantisation.decoder(self.continuous(of_latents, temperature, labels)).quantile(uniform)
        return as_grey_levels(self.continuous(noise, temperature, labels) * self.grey_levels, self.grey_levels)

    def continuous(self, noise: Tensor, temperature: Tensor | float = 1.0, labels: Tensor | None = None) -> Tensor:
        """Continuous images v (n, h, w, c), from :meth:`draw`.

        NaN where that leaves the floating type's range, which the preprocessing's inverse alone would hide. Where there
        are classes and no labels, each class is as likely at any temperature.
        """
        y = self.draw(noise, temperature, labels)
        return ops.where(ops.isfinite(y), self.preprocessing.inverse(y), math.nan)
