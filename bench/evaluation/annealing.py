"""Bidirectional Monte Carlo: how far an importance-weighted bound lies below log P(x), on data simulated from the VAE.

Notation: a prior gives z = g(v) from noise v ~ N(0, I), which is z itself where the prior is standard normal: what is
annealed is v, whatever the prior. With p(x | v) = p(x | g(v)), on the way from N(0, I) to the posterior of v lie

    π_β(v) ∝ N(v; 0, I) p(x | v)^β,    0 = β_0 < β_1 < ... < β_T = 1.

Annealed importance sampling (Neal 2001) draws v_0 ~ N(0, I), then v_t from a transition that leaves π_{β_t} invariant:

    log w = Σ_{t=1}^{T} (β_t - β_{t-1}) log p(x | v_{t-1}),    E[w] = P(x),

so that log w, and log (1/C) Σ w_c over C chains, is on average a lower bound on log P(x). Run backwards from an exact
posterior sample, the same sum has E[1/w] = 1/P(x), and -log (1/C) Σ 1/w_c is on average an upper bound (Grosse,
Ghahramani & Adams 2015; Grosse, Ancha & Roy 2016). For a simulated image the v that it came from is an exact posterior
sample. The gap between the bounds closes as T grows. Wu et al. (2017) so measured the gap of an importance-weighted
bound; measured on simulated data, it holds for the model's own samples, not for images unlike them.

The transitions are preconditioned Crank-Nicolson moves (Neal 1998, eq. 15; Cotter et al. 2013): v' = √(1-s²) v + s·ε,
which is reversible for N(0, I) at any step s, is accepted with probability min(1, [p(x | v') / p(x | v)]^β). Each move
needs one decoder evaluation and no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logsumexp

from bench.core.errors import DivergedError
from bench.core.seeds import derive_seed
from bench.data.dataset import Images
from bench.evaluation.broken_samples import broken
from bench.evaluation.likelihood import log_likelihood
from bench.runtime.compiled import CompiledMethod
from models.base.distributions import Tensor, sum_event
from models.vae.model import VAE

Array = npt.NDArray[np.float64]
Latents = npt.NDArray[np.float32]

STEPS = (0.9, 0.6, 0.3, 0.1)
"""Step sizes s of the moves, in turn: large ones explore while β is small, small ones are accepted near β = 1."""
VALUES_PER_BATCH = 2**21
"""Largest number of pixel values (images × chains × D) decoded at once, which bounds the memory."""


@dataclass(frozen=True)
class AnnealedBounds:
    """Stochastic bounds on log P(x) in nats, for images whose latents are known.

    Attributes:
        lower: from forward chains (n,): E[lower] <= log P(x).
        upper: from reverse chains (n,): E[upper] >= log P(x), the mean being over images simulated from the model.
    """

    lower: Array
    upper: Array


@dataclass(frozen=True)
class BidirectionalCheck:
    """An importance-weighted bound between two annealed ones, on the same simulated images; all in nats.

    Attributes:
        annealed: the annealed bounds.
        importance_weighted: the bound under test (n,).
        importance_samples: its k.
    """

    annealed: AnnealedBounds
    importance_weighted: Array
    importance_samples: int

    def frame(self) -> pd.DataFrame:
        """Mean and standard error over images of each bound, and of the differences, image by image.

        ``shortfall`` is the upper bound minus the importance-weighted one: an upper limit, on average, of the gap to
        log P(x). A shortfall below 0 by more than its error would refute the bound. ``width`` is the gap between the
        annealed bounds.
        """
        lower, upper, between = self.annealed.lower, self.annealed.upper, self.importance_weighted
        quantities = {
            "lower": lower,
            "importance_weighted": between,
            "upper": upper,
            "shortfall": upper - between,
            "width": upper - lower,
        }
        rows = [
            (name, float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))))
            for name, values in quantities.items()
        ]
        return pd.DataFrame(rows, columns=["quantity", "nats", "standard_error"]).set_index("quantity")


def simulate(model: VAE, n: int, seed: int) -> tuple[Images, Latents]:
    """``n`` images (n, h, w, c) drawn from the model, and the noise v (n, latent_noise_size) that each came from.

    Raises:
        DivergedError: a value of an image is not finite.
    """
    noise = _stream(seed, "simulation").standard_normal((n, model.prior_noise_size), dtype=np.float32)
    batch = max(1, VALUES_PER_BATCH // model.dimensions)
    parts = [np.asarray(model.generate(noise[start : start + batch])) for start in range(0, n, batch)]
    images = np.concatenate(parts)
    if lost := int(broken(images, model.grey_levels).sum()):
        raise DivergedError(f"{lost} of {n} images simulated from the model hold values that are not finite")
    kind = np.uint8 if model.grey_levels <= 256 else np.uint16
    return images.astype(kind), noise[:, : model.latent_noise_size]


def inverse_temperatures(temperatures: int) -> Array:
    """β_0 = 0 .. β_T = 1, (T + 1,): a sigmoid schedule, fine at both ends (Wu et al. 2017, their δ = 4)."""
    sigmoid = expit(np.linspace(-4.0, 4.0, temperatures + 1))
    return np.asarray((sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0]))


def annealed_bounds(
    model: VAE, images: Images, latents: Latents, temperatures: int, chains: int, seed: int
) -> AnnealedBounds:
    """Stochastic lower and upper bounds on log P(x), by annealing forwards and backwards.

    It costs 2·T·C decoder evaluations per image.

    Args:
        model: a VAE.
        images: images that were simulated from the model, (n, h, w, c).
        latents: the noise v of each image, (n, latent_noise_size): a sample of its exact posterior.
        temperatures: T, the annealing steps.
        chains: C, over which the weights of an image are averaged.
        seed: seed of all noise.

    Raises:
        ValueError: T or C is below 1, or the latents do not belong to the images.
    """
    if temperatures < 1 or chains < 1:
        raise ValueError(f"temperatures and chains must be at least 1, got {temperatures} and {chains}")
    expected = (len(images), model.latent_noise_size)
    if latents.shape != expected:
        raise ValueError(f"latents must be {expected}, one for each image, got {latents.shape}")
    program = CompiledMethod(model, _log_observation)
    batch = max(1, VALUES_PER_BATCH // (chains * model.dimensions))
    lower, upper = [], []
    for start in range(0, len(images), batch):
        some, origin = images[start : start + batch], np.repeat(latents[start : start + batch], chains, axis=0)
        walk = _Walk(program, np.repeat(some, chains, axis=0), _stream(seed, "annealing", start))
        schedule = _Schedule.of(inverse_temperatures(temperatures))
        prior = walk.noise.standard_normal(origin.shape, dtype=np.float32)
        forward = walk.log_weights(prior, schedule).reshape(-1, chains)
        reverse = walk.log_weights(origin, schedule.reversed()).reshape(-1, chains)
        lower.append(logsumexp(forward, axis=1) - math.log(chains))
        upper.append(math.log(chains) - logsumexp(-reverse, axis=1))
    return AnnealedBounds(np.concatenate(lower), np.concatenate(upper))


def bidirectional_check(
    model: VAE, n: int, temperatures: int, chains: int, importance_samples: int, seed: int
) -> BidirectionalCheck:
    """The importance-weighted bound of ``n`` images simulated from the model, between annealed bounds.

    Args:
        model: a VAE.
        n: simulated images.
        temperatures: T of the annealing.
        chains: C of the annealing.
        importance_samples: k of the bound under test, that of :func:`bench.evaluation.likelihood.log_likelihood`.
        seed: seed of the simulation and of all other noise.
    """
    images, latents = simulate(model, n, seed)
    annealed = annealed_bounds(model, images, latents, temperatures, chains, seed)
    return BidirectionalCheck(
        annealed, log_likelihood(model, images, importance_samples, seed).bound, importance_samples
    )


@dataclass(frozen=True)
class _Schedule:
    """The weight of log p(x | v) at each state (T,), and the move (β, s) between two states (T - 1,)."""

    increments: Array
    moves: list[tuple[float, float]]

    @classmethod
    def of(cls, betas: Array) -> _Schedule:
        return cls(np.diff(betas), [(float(beta), STEPS[t % len(STEPS)]) for t, beta in enumerate(betas[1:-1])])

    def reversed(self) -> _Schedule:
        """The schedule of the reverse chain, whose moves are reversible."""
        return _Schedule(self.increments[::-1], self.moves[::-1])


class _Walk:
    """Annealed chains of a batch of images."""

    def __init__(self, program: CompiledMethod, images: Images, noise: np.random.Generator) -> None:
        self.program = program
        self.images = images
        self.noise = noise

    def log_weights(self, v: Latents, schedule: _Schedule) -> Array:
        """Σ Δβ·log p(x | v) over the states of a chain from v (m, latent_noise_size): (m,)."""
        log_p = self._log_p(v)
        total = schedule.increments[0] * log_p
        for (beta, step), increment in zip(schedule.moves, schedule.increments[1:], strict=True):
            v, log_p = self._move(v, log_p, beta, step)
            total += increment * log_p
        return np.asarray(total)

    def _move(self, v: Latents, log_p: Array, beta: float, step: float) -> tuple[Latents, Array]:
        noise = self.noise.standard_normal(v.shape, dtype=np.float32)
        proposal = np.float32(math.sqrt(1 - step**2)) * v + np.float32(step) * noise
        proposal_log_p = self._log_p(proposal)
        taken = -self.noise.standard_exponential(len(v)) < beta * (proposal_log_p - log_p)
        return np.where(taken[:, None], proposal, v), np.where(taken, proposal_log_p, log_p)

    def _log_p(self, v: Latents) -> Array:
        return self.program.run(self.images, v).astype(np.float64)


def _log_observation(model: VAE, images: Tensor, v: Tensor) -> Tensor:
    """log p(x | g(v)) of each image and its noise, (m,)."""
    return sum_event(model.conditionals(images, model.prior().from_noise(v)).log_prob(images))


def _stream(seed: int, *names: object) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *names)))
