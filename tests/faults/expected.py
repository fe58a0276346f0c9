"""What the stand-in for training reaches: a function of configuration and seed, so that every check knows the answer.

Each evaluation depends on the one before it, through a state that only a checkpoint hands from one process to the next.
"""

from __future__ import annotations

from bench.core.seeds import derive_seed
from bench.study.config import RunConfig, TrainingConfig
from bench.study.definition import Arm, Study
from bench.study.search_space import Integers, Reals
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

EVALUATIONS = 8
IMAGES_PER_EVALUATION = 128
VALUE = "validation/bits_per_dim"
_STATES = 1 << 31
_DIVERGES_AT = 3

STUDY = Study(
    name="faults",
    question="Is anything lost?",
    sampler="qmc",
    arms=(
        Arm(
            VAEConfig(hidden_sizes=(16,), latent_size=4),
            sweep={"latent_size": Integers(2, 16), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=TrainingConfig(),
        ),
        Arm(
            GlowConfig(levels=1, flow_depth=1, hidden_channels=8),
            sweep={"hidden_channels": Integers(4, 12), "learning_rate": Reals(1e-3, 1e-2, log=True)},
            training=TrainingConfig(),
        ),
    ),
)


def first_state(config: RunConfig, seed: int) -> int:
    """The state before the first evaluation."""
    return derive_seed(seed, config.hash) % _STATES


def next_state(state: int) -> int:
    """The state an evaluation later."""
    return (state * 1_103_515_245 + 12_345) % _STATES


def bits_per_dim(config: RunConfig, state: int, evaluation: int) -> float:
    """Validation at an evaluation."""
    size = getattr(config.model, "latent_size", None) or getattr(config.model, "hidden_channels", 0)
    return 2.0 + size / 100 + 1 / evaluation + state / _STATES / 100


def diverges(config: RunConfig, evaluation: int) -> bool:
    """Whether training ends here: it does for a few configurations."""
    return evaluation == _DIVERGES_AT and derive_seed("accident", config.hash) % 12 == 0


def curve(config: RunConfig, seed: int) -> list[float]:
    """The learning curve, up to where training diverges if it does."""
    state, values = first_state(config, seed), []
    for evaluation in range(1, config.training.evaluations + 1):
        if diverges(config, evaluation):
            break
        state = next_state(state)
        values.append(bits_per_dim(config, state, evaluation))
    return values
