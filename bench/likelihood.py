"""The audited place where log-likelihoods are measured: both families, same discrete data, same noise scheme."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.compiled import CompiledMethod
from bench.data.dataset import Images
from bench.results import Bound, BoundKind, Measurement
from bench.seeds import derive_seed
from models.likelihood_model import LikelihoodModel
from models.units import bits_per_dim

Array = npt.NDArray[np.float64]

VALUES_PER_BATCH = 2**21
"""Largest number of noise values (rows × D) in one evaluation batch: it bounds the memory."""
ROWS_PER_BATCH = 1024
"""Largest number of rows, images × samples, in one evaluation batch: beyond it nothing gets faster."""


def bound_of(model: LikelihoodModel, importance_samples: int) -> Bound:
    """The bound that ``importance_samples`` log-weights of the model estimate."""
    dequantisation = getattr(model.configuration, "dequantisation", None)
    if dequantisation is None:
        return Bound(BoundKind.IMPORTANCE_WEIGHTED, importance_samples)
    return Bound(BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, importance_samples, dequantisation)


@dataclass(frozen=True)
class LogLikelihood:
    """Per-image lower bounds on log P(x), in nats.

    Attributes:
        bound: log (1/k) Σ w_i for each image (n,).
        dimensions: D, which bits/dim divides by.
        kind: the bound's kind and k.
        rates: log-weights per second of each batch after the first, which compiles; of that one if there is no other.
    """

    bound: Array
    dimensions: int
    kind: Bound
    rates: Array

    def measurements(self, split: str) -> list[Measurement]:
        """Mean bits/dim and mean NLL in nats, each with the standard error of the mean over images."""
        n = len(self.bound)
        rows = []
        for metric, values in (("bits_per_dim", bits_per_dim(self.bound, self.dimensions)), ("nll_nats", -self.bound)):
            error = float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None
            rows.append(Measurement(split, metric, float(np.mean(values)), error, n, self.kind))
        return rows


def likelihood_program(model: LikelihoodModel, compiled: bool = True) -> CompiledMethod:
    """The program that computes the model's log-weights: compiled, or for a few small batches not."""
    return CompiledMethod(model, LikelihoodModel.log_weights_by_image, compiled, name="log_weights")


def log_likelihood(
    model: LikelihoodModel,
    images: Images,
    importance_samples: int,
    seed: int,
    program: CompiledMethod | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LogLikelihood:
    """Importance-weighted bound on log P(x) for every image: log (1/k) Σ w_i (Burda et al. 2016, eq. 8).

    The noise of image i is a stream of its own, keyed by (seed, i): the same numbers enter whatever the batch size,
    the order or the backend, and two models evaluated with one seed see the same noise where its shape is the same.
    Weights are gathered in double precision by a running log-sum-exp, in memory that does not grow with n or k.

    Args:
        model: a trained model.
        images: integer images (n, h, w, c).
        importance_samples: k.
        seed: seed of the noise.
        program: the model's :func:`likelihood_program`, where it is at hand; else one is compiled.
        on_progress: called with the number of log-weights done and their total.
    """
    rows = max(1, min(ROWS_PER_BATCH, VALUES_PER_BATCH // model.dimensions))
    samples_per_batch = _largest_divisor(importance_samples, rows)
    images_per_batch = min(len(images), max(1, rows // samples_per_batch))
    program = program or likelihood_program(model)
    noise_seed = derive_seed(seed, "posterior noise")
    total = len(images) * importance_samples
    bounds = np.empty(len(images))
    rates: list[float] = []
    done = 0
    for start in range(0, len(images), images_per_batch):
        batch = images[start : start + images_per_batch]
        # One shape for all batches, so that one program serves: the last is filled up with its own first image.
        filler = images_per_batch - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[:1], filler, axis=0)]) if filler else batch
        streams = [np.random.Generator(np.random.Philox(key=(noise_seed, start + i))) for i in range(images_per_batch)]
        log_sum = np.full(images_per_batch, -np.inf)
        for _ in range(importance_samples // samples_per_batch):
            shape = (samples_per_batch, *model.posterior_noise_shape)
            noise = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
            began = time.perf_counter()
            log_weights = program.run(padded, noise).astype(np.float64)  # (images, samples)
            rates.append(log_weights.size / (time.perf_counter() - began))
            log_sum = np.logaddexp(log_sum, np.logaddexp.reduce(log_weights, axis=1))
            done += len(batch) * samples_per_batch
            on_progress(done, total)
        bounds[start : start + len(batch)] = (log_sum - math.log(importance_samples))[: len(batch)]
    kind = bound_of(model, importance_samples)
    return LogLikelihood(bounds, model.dimensions, kind, np.asarray(rates[1:] or rates))


def _largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of ``number`` that is at most ``limit``."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)
