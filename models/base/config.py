"""Typed, frozen configurations of the model families, and what can be logs of a model without building it.

This module imports no framework, so that a dry run answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Shape = tuple[int, int, int]
"""Image shape (height, width, channels)."""
BatchShape = tuple[int | None, int, int, int]
"""Shape of a batch of images, its number open."""

Activation = Literal["relu", "tanh", "elu", "silu", "gelu"]
Observation = Literal["auto", "bernoulli", "categorical", "discretised_logistic", "logistic_mixture"]
GradientEstimator = Literal[
    "pathwise", "score_function", "score_function_baseline", "sticking_the_landing", "doubly_reparameterised"
]

CATEGORICAL_LIMIT = 32
"""Largest number of grey levels for which ``auto`` gives each level a probability of its own."""


class ModelConfig(BaseModel):
    """Base of the families' configurations: immutable, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    family: str
    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModelConfig:
        """The named configuration, with ``changes``.

        Raises:
            KeyError: there is no preset of that name.
            pydantic.ValidationError: a change is unknown or out of range.
        """
        return cls.model_validate({**cls.presets[name], **changes})

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError, with what would be accepted, if the model cannot take images of this kind."""


class VAEConfig(ModelConfig):
    """A variational autoencoder (Kingma & Welling 2014; Rezende et al. 2014).

    Attributes:
        network: kind of encoder and decoder.
        latent_size: dimensions of z.
        hidden_sizes: widths of a dense encoder's layers; the decoder mirrors them.
        hidden_width: where given, the width of all these layers, of which ``hidden_sizes`` then says the number alone:
            a width that can be swept.
        hidden_channels: channels of a convolutional or residual network at full resolution, doubled at each halving.
        downsamplings: how often a convolutional or residual encoder halves the image.
        blocks: residual blocks per resolution.
        activation: nonlinearity of hidden layers.
        input_scaling: what the encoder sees of a pixel: x/(Q-1) less its mean over training images (``centred``),
            x/(Q-1) itself (``unit``), or 2x/(Q-1) - 1 (``symmetric``), which makes the background of most images a
            large constant and costs likelihood.
        dropout: share of the hidden units, behind each dense layer or each resolution, that are left out at random in
            training.
        observation: distribution of a pixel given z; ``auto`` takes Bernoulli for 2 grey levels, a categorical up to
            32, and a mixture of discretised logistics above.
        mixture_components: logistics in ``logistic_mixture``.
        beta: final weight of the KL term in the training objective (Higgins et al. 2017).
        kl_warmup_steps: training steps over which that weight rises linearly from 0 (Sønderby et al. 2016).
        free_bits: nats per latent dimension below which the KL is not penalised (Kingma et al. 2016).
        training_samples: k of the training objective; above 1 it is the IWAE objective (Burda et al. 2016).
        gradient_estimator: how the encoder's gradient is estimated: ``pathwise``, the reparameterisation trick, or
            one of :mod:`models.vae.gradient_estimators`.
    """

    family: Literal["vae"] = "vae"
    network: Literal["dense", "convolutional", "residual"] = "dense"
    latent_size: Annotated[int, Field(ge=1, le=65536)] = 16
    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (200, 200)
    hidden_width: Annotated[int, Field(ge=1)] | None = None
    hidden_channels: Annotated[int, Field(ge=1)] = 32
    downsamplings: Annotated[int, Field(ge=0, le=8)] = 2
    blocks: Annotated[int, Field(ge=1)] = 2
    activation: Activation = "relu"
    input_scaling: Literal["centred", "unit", "symmetric"] = "centred"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    observation: Observation = "auto"
    mixture_components: Annotated[int, Field(ge=1)] = 5
    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    kl_warmup_steps: Annotated[int, Field(ge=0)] = 0
    free_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    training_samples: Annotated[int, Field(ge=1)] = 1
    gradient_estimator: GradientEstimator = "pathwise"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "sketch": {"network": "dense", "hidden_sizes": (128, 64), "activation": "relu"},
        "iwae": {"network": "dense", "hidden_sizes": (200, 200), "activation": "tanh", "latent_size": 50},
        "convolutional": {"network": "convolutional", "activation": "relu"},
        "residual": {"network": "residual", "activation": "silu"},
    }

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
        return self

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The widths of a dense encoder's layers."""
        return self.hidden_sizes if self.hidden_width is None else (self.hidden_width,) * len(self.hidden_sizes)

    def observation_for(self, grey_levels: int) -> Observation:
        """The observation distribution that ``auto`` stands for on data with ``grey_levels`` levels."""
        if self.observation != "auto":
            return self.observation
        if grey_levels == 2:
            return "bernoulli"
        return "categorical" if grey_levels <= CATEGORICAL_LIMIT else "logistic_mixture"

    def parameters_per_pixel(self, grey_levels: int) -> int:
        """How many decoder outputs describe one channel of one pixel."""
        return {
            "bernoulli": 1,
            "categorical": grey_levels,
            "discretised_logistic": 2,
            "logistic_mixture": 3 * self.mixture_components,
        }[self.observation_for(grey_levels)]

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the observation distribution or the downsampling does not fit the images."""
        if self.observation == "bernoulli" and grey_levels != 2:
            raise ValueError(
                f"observation=bernoulli needs 2 grey levels, the data has {grey_levels}: "
                "take auto, categorical, discretised_logistic or logistic_mixture"
            )
        if self.network != "dense" and 2**self.downsamplings > min(image_shape[:2]):
            raise ValueError(
                f"downsamplings={self.downsamplings} halves {image_shape[0]}x{image_shape[1]} images below one pixel: "
                f"at most {min(image_shape[:2]).bit_length() - 1}"
            )


class GlowConfig(ModelConfig):
    """Glow (Kingma & Dhariwal 2018).

    Attributes:
        levels: L, the number of scales; each begins with a squeeze, and all but the last end with a split.
        flow_depth: K, the steps of flow per level.
        hidden_channels: width of the coupling networks.
        coupling: affine (with a sigmoid scale) or additive.
        permutation: parameterisation of the invertible 1x1 convolutions: ``lu`` (their section 3.2) or ``plain``.
        learned_top_prior: whether mean and scale of the last latent's prior are trained.
        classes: number of class labels that condition the last latent's prior; 0 for none.
        dequantisation: ``uniform`` (Theis et al. 2016) or ``variational`` (Ho et al. 2019).
        dequantisation_depth: coupling steps of the variational dequantisation.
        preprocessing: the map from the unit cube to the flow's space: ``linear``, ``logit``, or ``marginal``, which
            brings the marginal of each channel near a normal one (:mod:`models.bijections.preprocessing`).
        alpha: α, by which the last two keep the ends of the cube at a finite distance.
        dropout: share of the coupling networks' last hidden channels that are left out at random in training, image by
            image.
        recompute: whether the backward pass computes the inside of each step of flow again instead of keeping it:
            memory then hardly grows with the depth, and a training step costs a forward pass more.
    """

    family: Literal["glow"] = "glow"
    levels: Annotated[int, Field(ge=1, le=8)] = 2
    flow_depth: Annotated[int, Field(ge=1, le=256)] = 4
    hidden_channels: Annotated[int, Field(ge=1)] = 64
    coupling: Literal["affine", "additive"] = "affine"
    permutation: Literal["lu", "plain"] = "lu"
    learned_top_prior: bool = True
    classes: Annotated[int, Field(ge=0)] = 0
    dequantisation: Literal["uniform", "variational"] = "uniform"
    preprocessing: Literal["linear", "logit", "marginal"] = "marginal"
    alpha: Annotated[float, Field(ge=1e-6, lt=0.5, allow_inf_nan=False)] = 1e-4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dequantisation_depth: Annotated[int, Field(ge=1)] = 2
    recompute: bool = False

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"levels": 2, "flow_depth": 4, "hidden_channels": 64},
        "paper": {"levels": 3, "flow_depth": 32, "hidden_channels": 512},
    }

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError if the images cannot be squeezed ``levels`` times."""
        height, width, _ = image_shape
        most = min((size & -size).bit_length() - 1 for size in (height, width))
        if self.levels > most:
            raise ValueError(
                f"levels={self.levels} squeezes the image {self.levels} times, but {height}x{width} can be halved "
                + (f"only {most} times: take levels <= {most}" if most else "not even once: pad or crop the images")
            )


AnyModelConfig = Annotated[VAEConfig | GlowConfig, Field(discriminator="family")]
"""Configuration of any registered family, logs apart by ``family``."""

FAMILIES: dict[str, type[ModelConfig]] = {"vae": VAEConfig, "glow": GlowConfig}
"""The registered model families."""
