"""The configuration of the variational autoencoder, and its size. This module imports no framework."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from models.base.config import Activation, ModelConfig, Shape
from models.base.halving import check_halvings, halved
from models.base.pixels import Observation, check_observation, input_shape, observation_for, parameters_per_value
from models.base.registry import register_family
from models.base.size import Size, convolution, dense
from models.base.window import window

GradientEstimator = Literal[
    "pathwise", "score_function", "score_function_baseline", "sticking_the_landing", "doubly_reparameterised"
]
PriorKind = Literal["standard", "vamp", "flow"]

IMAGES_PER_PSEUDO_BATCH = 64
"""Images among which :meth:`VAEConfig.size` divides the work of encoding the pseudo-inputs: once for each batch."""


class VAEConfig(ModelConfig):
    """A variational autoencoder (Kingma & Welling 2014; Rezende et al. 2014).

    Attributes:
        network: kind of encoder and decoder. A ``recurrent`` one, for sequences, takes an image value by value: its
            decoder writes each value given z and those before it (Bowman et al. 2016).
        latent_size: dimensions of z.
        hidden_sizes: widths of a dense encoder's layers; the decoder mirrors them.
        hidden_width: where given, the width of all these layers, of which ``hidden_sizes`` then says the number alone:
            a width that can be swept.
        gated: whether a dense layer is (W x + b)·σ(V x + c), in place of its activation (Dauphin et al. 2017; as in
            Tomczak & Welling 2018).
        hidden_channels: channels of a convolutional or residual network at full resolution, doubled at each halving;
            width of a recurrent one.
        downsamplings: how often a convolutional or residual encoder halves the image.
        blocks: residual blocks per resolution.
        activation: nonlinearity of hidden layers.
        input_scaling: what the encoder sees of a pixel: x/(Q-1) less its mean over training images (``centred``),
            x/(Q-1) itself (``unit``), or 2x/(Q-1) - 1 (``symmetric``), which makes the background of most images a
            large constant and costs likelihood; or, of symbols without an order, a channel for each (``one_hot``).
        dropout: share of the hidden units, behind each dense layer or each resolution, that are left out at random in
            training; behind the recurrence of a recurrent network.
        symbol_dropout: share of the values before that are hidden from a recurrent decoder at random in training, so
            that it has to ask z (Bowman et al. 2016, section 3.1).
        observation: distribution of a pixel given z; ``auto`` takes Bernoulli for 2 grey levels, a categorical up to
            32 and for one-hot symbols, and a mixture of discretised logistics elsewhere.
        mixture_components: logistics in ``logistic_mixture``.
        prior: p(z): ``standard`` for N(0, I), or one of :mod:`models.vae.priors`: ``vamp``, the mixture of the
            posteriors of trained pseudo-inputs, or ``flow``, N(0, I) through affine couplings.
        pseudo_inputs: components of a ``vamp`` prior.
        prior_couplings: couplings of a ``flow`` prior.
        prior_width: width of the two hidden layers of each of their networks.
        beta: final weight of the KL term in the training objective (Higgins et al. 2017).
        kl_warmup_steps: training steps over which that weight rises linearly from 0 (Sønderby et al. 2016).
        free_bits: nats per latent dimension below which the KL is not penalised (Kingma et al. 2016); for a
            ``standard`` prior, as no other gives each latent a KL of its own.
        training_samples: k of the training objective; above 1 it is the IWAE objective (Burda et al. 2016).
        gradient_estimator: how the encoder's gradient is estimated: ``pathwise``, the reparameterisation trick, or
            one of :mod:`models.vae.gradient_estimators`.
    """

    family: Literal["vae"] = "vae"
    network: Literal["dense", "convolutional", "residual", "recurrent"] = "dense"
    latent_size: Annotated[int, Field(ge=1, le=65536)] = 16
    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (200, 200)
    hidden_width: Annotated[int, Field(ge=1)] | None = None
    gated: bool = False
    hidden_channels: Annotated[int, Field(ge=1)] = 32
    downsamplings: Annotated[int, Field(ge=0, le=8)] = 2
    blocks: Annotated[int, Field(ge=1)] = 2
    activation: Activation = "relu"
    input_scaling: Literal["centred", "unit", "symmetric", "one_hot"] = "centred"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    symbol_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    observation: Observation = "auto"
    mixture_components: Annotated[int, Field(ge=1)] = 5
    prior: PriorKind = "standard"
    pseudo_inputs: Annotated[int, Field(ge=1, le=65536)] = 500
    prior_couplings: Annotated[int, Field(ge=1, le=256)] = 4
    prior_width: Annotated[int, Field(ge=1)] = 128
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    kl_warmup_steps: Annotated[int, Field(ge=0)] = 0
    free_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    training_samples: Annotated[int, Field(ge=1)] = 1
    gradient_estimator: GradientEstimator = "pathwise"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "sketch": {"network": "dense", "hidden_sizes": (128, 64), "activation": "relu"},
        "iwae": {"network": "dense", "hidden_sizes": (200, 200), "activation": "tanh", "latent_size": 50},
        "vamp": {"hidden_sizes": (300, 300), "gated": True, "latent_size": 40, "prior": "vamp"},
        "convolutional": {"network": "convolutional", "activation": "relu"},
        "residual": {"network": "residual", "activation": "silu"},
        "recurrent": {"network": "recurrent", "hidden_channels": 128},
    }
    later_settings: ClassVar[frozenset[str]] = frozenset({"symbol_dropout"})

    @model_validator(mode="after")
    def _objective_is_a_bound(self) -> VAEConfig:
        if self.training_samples > 1 and (self.beta != 1 or self.free_bits or self.kl_warmup_steps):
            raise ValueError(
                f"training_samples={self.training_samples} trains the IWAE bound, which has no KL term to weigh: "
                f"it needs beta=1, free_bits=0 and kl_warmup_steps=0, got beta={self.beta}, "
                f"free_bits={self.free_bits}, kl_warmup_steps={self.kl_warmup_steps}"
            )
        return self

    @model_validator(mode="after")
    def _estimator_fits_the_objective(self) -> VAEConfig:
        estimator = self.gradient_estimator
        if estimator != "pathwise" and (self.beta != 1 or self.free_bits or self.kl_warmup_steps):
            raise ValueError(
                f"gradient_estimator={estimator} estimates the gradient of the bound itself: "
                f"it needs beta=1, free_bits=0 and kl_warmup_steps=0, got beta={self.beta}, "
                f"free_bits={self.free_bits}, kl_warmup_steps={self.kl_warmup_steps}"
            )
        if estimator not in ("pathwise", "doubly_reparameterised") and self.training_samples > 1:
            raise ValueError(
                f"gradient_estimator={estimator} needs training_samples=1, got {self.training_samples}: "
                "take pathwise or doubly_reparameterised for the IWAE bound"
            )
        if estimator == "doubly_reparameterised" and (self.dropout or self.symbol_dropout):
            raise ValueError(
                f"gradient_estimator={estimator} runs the decoder twice, and would leave out other units each time: "
                f"it needs dropout=0 and symbol_dropout=0, got dropout={self.dropout}, "
                f"symbol_dropout={self.symbol_dropout}"
            )
        return self

    @model_validator(mode="after")
    def _prior_fits(self) -> VAEConfig:
        if self.prior != "standard" and self.free_bits:
            raise ValueError(
                f"prior={self.prior} gives a latent no KL of its own that free_bits could bound: it needs free_bits=0, "
                f"got {self.free_bits}; beta and kl_warmup_steps weigh the whole KL"
            )
        if self.prior != "standard" and self.gradient_estimator.startswith("score_function"):
            raise ValueError(
                f"gradient_estimator={self.gradient_estimator} needs the closed form of the KL, which prior=standard "
                f"has, got prior={self.prior}: take pathwise, sticking_the_landing or doubly_reparameterised"
            )
        if self.prior == "vamp" and self.input_scaling == "one_hot":
            raise ValueError(
                "prior=vamp encodes pseudo-inputs that lie between grey levels, and between symbols there is nothing: "
                "input_scaling=one_hot takes prior=standard or flow"
            )
        if self.prior == "flow" and self.latent_size < 2:
            raise ValueError(
                f"prior=flow couples one half of the latents to the other: latent_size >= 2, got {self.latent_size}"
            )
        return self

    @model_validator(mode="after")
    def _gates_are_of_dense_layers(self) -> VAEConfig:
        if self.gated and self.network != "dense":
            raise ValueError(f"gated=true is for network=dense, got network={self.network}")
        return self

    @model_validator(mode="after")
    def _symbols_are_hidden_from_a_recurrent_decoder(self) -> VAEConfig:
        if self.symbol_dropout and self.network != "recurrent":
            raise ValueError(
                f"symbol_dropout={self.symbol_dropout} hides values from a decoder that sees those before: it needs "
                f"network=recurrent, got network={self.network}"
            )
        return self

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The widths of a dense encoder's layers."""
        return self.hidden_sizes if self.hidden_width is None else (self.hidden_width,) * len(self.hidden_sizes)

    def observation_for(self, grey_levels: int) -> Observation:
        """The observation distribution that ``auto`` stands for on data with ``grey_levels`` levels."""
        return observation_for(self.observation, grey_levels, self.input_scaling)

    def parameters_per_value(self, grey_levels: int) -> int:
        """How many decoder outputs describe one channel of one pixel."""
        return parameters_per_value(self.observation_for(grey_levels), grey_levels, self.mixture_components)

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the observation distribution or the downsampling does not fit the images."""
        check_observation(self.observation, grey_levels)
        if self.network in ("convolutional", "residual"):
            check_halvings(self.downsamplings, image_shape)

    def size(self, image_shape: Shape, grey_levels: int) -> Size:
        """The weights and multiply-adds of encoder and decoder."""
        return sum(_parts(self, image_shape, grey_levels), Size())


def activation_bytes(config: VAEConfig, image_shape: Shape, grey_levels: int) -> int:
    """Bytes of what the layers of convolutional or residual networks, encoder and decoder, give of one image.

    A residual block has two layers.
    """
    pixels, widths = _resolutions(config, image_shape)
    after_each = 1 + 2 * config.blocks * (config.network == "residual") + (config.dropout > 0)
    # At the coarsest resolution the decoder has a dense layer where it has an upsampling at the others.
    of_each = after_each * sum(map(math.prod, zip(pixels, widths, strict=True)))
    ends = 2 * config.latent_size + math.prod(image_shape) * config.parameters_per_value(grey_levels)
    return 4 * (2 * of_each + ends)


def _parts(config: VAEConfig, image_shape: Shape, grey_levels: int) -> Iterator[Size]:
    seen = input_shape(config.input_scaling, image_shape, grey_levels)
    encoder = sum(_encoder(config, seen, math.prod(image_shape)), Size())
    yield encoder
    per_value = config.parameters_per_value(grey_levels)
    yield from _decoder(config, image_shape, math.prod(seen) // math.prod(image_shape), per_value)
    latents = config.latent_size
    if config.prior == "vamp":
        encoded = config.pseudo_inputs * encoder.multiplications // IMAGES_PER_PSEUDO_BATCH
        yield Size(config.pseudo_inputs * math.prod(image_shape), encoded + config.pseudo_inputs * latents)
    if config.prior == "flow":
        for i in range(config.prior_couplings):
            kept = latents // 2 if i % 2 == 0 else latents - latents // 2
            for inputs, outputs in pairwise((kept, config.prior_width, config.prior_width, 2 * (latents - kept))):
                yield dense(inputs, outputs)


def _hidden(config: VAEConfig, widths: Iterable[int]) -> Iterator[Size]:
    """Dense layers of these widths, the first being their input's."""
    for inputs, outputs in pairwise(widths):
        yield dense(inputs, outputs * (1 + config.gated))


def _resolutions(config: VAEConfig, image_shape: Shape) -> tuple[list[int], list[int]]:
    """Pixels and channels at each resolution."""
    halvings = range(config.downsamplings + 1)
    pixels = [math.prod(halved(image_shape[:2], i)) for i in halvings]
    return pixels, [config.hidden_channels * 2**i for i in halvings]


def _blocks(config: VAEConfig, channels: int, taps: int, pixels: int) -> Iterator[Size]:
    """The residual blocks of encoder or decoder at one resolution, of two convolutions each."""
    if config.network == "residual":
        for _ in range(2 * config.blocks):
            yield convolution(channels, channels, taps, pixels)


def _recurrence(config: VAEConfig, inputs: int, steps: int) -> Size:
    """A gated recurrent unit that takes so many steps."""
    width = config.hidden_channels
    matrices = 3 * width * (inputs + width)
    return Size(matrices + 4 * width, steps * matrices)


def _encoder(config: VAEConfig, image_shape: Shape, values: int) -> Iterator[Size]:
    if config.network == "recurrent":
        yield _recurrence(config, math.prod(image_shape) // values, values)
        yield dense(config.hidden_channels, 2 * config.latent_size)
        return
    if config.network == "dense":
        widths = [math.prod(image_shape), *config.layer_sizes]
        yield from _hidden(config, widths)
        yield dense(widths[-1], 2 * config.latent_size)
        return
    taps, (pixels, widths) = math.prod(window(3, image_shape)), _resolutions(config, image_shape)
    for inputs, outputs, size in zip((image_shape[-1], *widths), widths, pixels, strict=False):
        yield convolution(inputs, outputs, taps, size)
        yield from _blocks(config, outputs, taps, size)
    yield dense(pixels[-1] * widths[-1], 2 * config.latent_size)


def _decoder(config: VAEConfig, image_shape: Shape, inputs: int, per_pixel: int) -> Iterator[Size]:
    dimensions = math.prod(image_shape)
    yield Size(dimensions * per_pixel, 0)  # output bias
    if config.network == "recurrent":
        width = config.hidden_channels
        yield dense(config.latent_size, width)
        yield dense(config.latent_size, 3 * width, bias=False)
        yield _recurrence(config, inputs, dimensions)
        yield Size(width * per_pixel, dimensions * width * per_pixel)
        return
    if config.network == "dense":
        widths = [config.latent_size, *reversed(config.layer_sizes)]
        yield from _hidden(config, widths)
        yield dense(widths[-1], dimensions * per_pixel, bias=False)
        return
    taps, (pixels, widths) = math.prod(window(3, image_shape)), _resolutions(config, image_shape)
    yield dense(config.latent_size, pixels[-1] * widths[-1])
    for i, (outputs, size) in enumerate(zip(widths, pixels, strict=True)):
        yield from _blocks(config, outputs, taps, size)
        if i:
            # Upsampling: a transposed convolution applies its kernel at each coarse pixel.
            yield convolution(outputs, widths[i - 1], taps, size)
    yield convolution(widths[0], image_shape[-1] * per_pixel, taps, pixels[0], bias=False)


register_family(VAEConfig, "models.vae.model:VAE", title="VAE")
