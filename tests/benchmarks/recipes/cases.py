"""The cases that `make benchmark-recipes` measures: plain data, to be edited here alone. It imports no framework.

A case is measured where its data is given. Its name is the same on every data set, so that a table has one row for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.study.config import RECIPE, TrainingConfig
from models.base.config import ModelConfig
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        name: a row of the group's table.
        group: key in ``GROUPS``.
        data: key in ``DATA``.
        model: its configuration.
        training: its configuration.
        seed: of weights, noise and data order.
    """

    name: str
    group: str
    data: str
    model: ModelConfig
    training: TrainingConfig
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.group} / {self.name} / {self.data}"


@dataclass(frozen=True)
class Group:
    """A table of the page.

    Attributes:
        title: its heading.
        text: what its cases share, and what they differ in.
        budgets: training images at which the table has a column, by data set; the end of the run always has one.
    """

    title: str
    text: str
    budgets: Mapping[str, tuple[int, ...]]


DATA = {
    "digits": "bits_per_dim",
    "binarized_mnist": "nll_nats",
    "mnist": "bits_per_dim",
    "fashion_mnist": "bits_per_dim",
    "cifar10": "bits_per_dim",
}
"""By the name of a data set, the metric that its cases are judged by."""
BATCH = {"binarized_mnist": 100}
"""Images per step where it is not 64."""
IMAGES_BETWEEN_EVALUATIONS = {
    "digits": 1_280,
    "binarized_mnist": 50_000,
    "mnist": 8_000,
    "fashion_mnist": 8_000,
    "cifar10": 4_000,
}

GLOW = {"levels": 2, "flow_depth": 4, "hidden_channels": 64}
GLOW_BUDGETS = {"digits": (12_800, 51_200), "mnist": (32_000,), "fashion_mnist": (32_000,), "cifar10": (16_000,)}
VAE_MNIST = {"hidden_sizes": (200, 200), "activation": "tanh", "latent_size": 50}
VAE_DIGITS = {"hidden_sizes": (200, 200), "latent_size": 16}
VAE_BUDGETS = {
    "digits": (12_800, 25_600),
    "binarized_mnist": (200_000, 400_000),
    "mnist": (48_000,),
}
LONG_BUDGETS = {"digits": (12_800, 25_600, 76_800, 256_000)}
MNIST_BUDGETS = {"mnist": (32_000, 64_000, 128_000, 400_000)}

GROUPS: dict[str, Group] = {
    "preprocessing": Group(
        "Preprocessing before the flow",
        "Glow K=4 L=2 width 64, uniform dequantisation, the studies' recipe at the rate 3e-3, batch 64.",
        GLOW_BUDGETS,
    ),
    "input": Group(
        "Input of the VAE",
        "Dense VAE: 200-200 tanh, 50 latents (digits: ReLU, 16 latents); constant rate, no average, no clipping.",
        VAE_BUDGETS,
    ),
    "optimisation of Glow": Group(
        "Optimisation of Glow",
        "Glow K=4 L=2 width 64; the studies' recipe (rate 5e-3), one setting changed at a time.",
        GLOW_BUDGETS,
    ),
    "optimisation of the VAE": Group(
        "Optimisation of the VAE",
        "The VAEs of the table above; the studies' recipe at the rate 1e-3 (digits: 3e-3, with a KL warm-up of 200 "
        "steps), one setting changed at a time.",
        VAE_BUDGETS,
    ),
    "overfitting": Group(
        "Long budgets on small data",
        "200 passes over the digits: the best evaluation, and the last one.",
        LONG_BUDGETS,
    ),
    "mnist": Group(
        "One small Glow on MNIST",
        "Glow K=4 L=2 width 64, the studies' recipe at the rate 8e-3, batch 64.",
        MNIST_BUDGETS,
    ),
}


def training(data: str, images: int, **settings: Any) -> TrainingConfig:
    """A training on a data set with its batch size, evaluated at its usual interval."""
    settings.setdefault("batch_size", BATCH.get(data, 64))
    settings.setdefault("evaluations", max(1, images // IMAGES_BETWEEN_EVALUATIONS[data]))
    return TrainingConfig.model_validate({**RECIPE.model_dump(), "images": images, **settings})


PREPROCESSING: dict[str, dict[str, Any]] = {
    "linear": {"preprocessing": "linear"},
    "logit 1e-6": {"preprocessing": "logit", "alpha": 1e-6},
    "logit 1e-4": {"preprocessing": "logit", "alpha": 1e-4},
    "logit 0.05": {"preprocessing": "logit", "alpha": 0.05},
    "marginal 1e-4": {"preprocessing": "marginal", "alpha": 1e-4},
    "marginal 1e-2": {"preprocessing": "marginal", "alpha": 1e-2},
    "marginal 0.05": {"preprocessing": "marginal", "alpha": 0.05},
}
"""By case, what it changes in a GlowConfig."""
INPUTS: dict[str, dict[str, Any]] = {
    "symmetric": {"input_scaling": "symmetric"},
    "unit": {"input_scaling": "unit"},
    "centred": {"input_scaling": "centred"},
}
"""By case, what it changes in a VAEConfig."""
INPUT_RATES = (1e-3, 3e-3)
OPTIMISATION: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no clipping": {"clip_norm": 0.0},
    "warm-up 200": {"warmup_steps": 200},
    "constant rate, no average": {"decay": "constant", "weight_average": 0.0},
    "cosine, no average": {"decay": "cosine", "weight_average": 0.0},
    "no average": {"weight_average": 0.0},
    "average 0.999": {"weight_average": 0.999},
    "no weight decay": {"weight_decay": 0.0},
    "weight decay 0.01": {"weight_decay": 0.01},
    "twice the rate": {"learning_rate": 2.0},
}
"""By case, what it changes in the recipe; a learning rate is a factor."""
OPTIMISED: tuple[tuple[str, str, ModelConfig, float], ...] = (
    ("optimisation of Glow", "digits", GlowConfig(**GLOW), RECIPE.learning_rate),
    ("optimisation of Glow", "mnist", GlowConfig(**GLOW), RECIPE.learning_rate),
    ("optimisation of Glow", "fashion_mnist", GlowConfig(**GLOW), RECIPE.learning_rate),
    ("optimisation of the VAE", "digits", VAEConfig(**VAE_DIGITS, kl_warmup_steps=200), 3e-3),
    ("optimisation of the VAE", "binarized_mnist", VAEConfig(**VAE_MNIST), 1e-3),
)
"""Group, data, model and learning rate that every optimisation is tried on."""
PLAIN = {"decay": "constant", "weight_average": 0.0, "weight_decay": 0.0, "patience": 0}
"""A constant rate to the end of the budget."""
VAE_LONG = {"latent_size": 16, "kl_warmup_steps": 200}
LONG: dict[str, tuple[ModelConfig, float, dict[str, Any]]] = {
    "VAE, symmetric input, constant rate": (VAEConfig(**VAE_LONG, input_scaling="symmetric"), 3e-3, PLAIN),
    "VAE, constant rate": (VAEConfig(**VAE_LONG), 3e-3, PLAIN),
    "VAE, the recipe": (VAEConfig(**VAE_LONG), 3e-3, {}),
    "VAE, the recipe, dropout 0.2": (VAEConfig(**VAE_LONG, dropout=0.2), 3e-3, {}),
    "Glow K=6 linear, constant rate": (GlowConfig(flow_depth=6, preprocessing="linear"), 4.8e-3, PLAIN),
    "Glow K=6 logit 1e-4, constant rate": (
        GlowConfig(flow_depth=6, preprocessing="logit", alpha=1e-4),
        4.8e-3,
        PLAIN,
    ),
    "Glow K=6, the recipe": (GlowConfig(flow_depth=6), 4.8e-3, {}),
    "Glow K=6, the recipe, variational": (GlowConfig(flow_depth=6, dequantisation="variational"), 4.8e-3, {}),
}
"""By case, the model, its learning rate and what it changes in the recipe."""


def _preprocessing() -> list[Case]:
    return [
        Case(
            name,
            "preprocessing",
            data,
            GlowConfig(**GLOW, **settings),
            training(data, max(budgets), learning_rate=3e-3),
        )
        for data, budgets in GLOW_BUDGETS.items()
        for name, settings in PREPROCESSING.items()
    ]


def _input() -> list[Case]:
    return [
        Case(
            f"{name}, lr {rate:g}",
            "input",
            data,
            VAEConfig(**(VAE_DIGITS if data == "digits" else VAE_MNIST), **settings),
            training(data, max(budgets), learning_rate=rate, clip_norm=0.0, **PLAIN),
        )
        for data, budgets in VAE_BUDGETS.items()
        for name, settings in INPUTS.items()
        for rate in (INPUT_RATES if data in ("digits", "binarized_mnist") else INPUT_RATES[:1])
    ]


def _optimisation() -> list[Case]:
    return [
        Case(
            name,
            group,
            data,
            model,
            training(
                data,
                max(GROUPS[group].budgets[data]),
                **{**settings, "learning_rate": rate * settings.get("learning_rate", 1.0)},
            ),
        )
        for group, data, model, rate in OPTIMISED
        for name, settings in OPTIMISATION.items()
    ]


def _overfitting() -> list[Case]:
    images = max(LONG_BUDGETS["digits"])
    return [
        Case(name, "overfitting", "digits", model, training("digits", images, learning_rate=rate, **settings))
        for name, (model, rate, settings) in LONG.items()
    ]


def _mnist() -> list[Case]:
    images = max(MNIST_BUDGETS["mnist"])
    return [
        Case("the recipe", "mnist", "mnist", GlowConfig(**GLOW), training("mnist", images, learning_rate=8e-3)),
    ]


CASES: tuple[Case, ...] = (*_preprocessing(), *_input(), *_optimisation(), *_overfitting(), *_mnist())
