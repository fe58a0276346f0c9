"""The audited place where log-likelihoods are measured: all families, same discrete data, same noise scheme."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import numpy.typing as npt
import pandas as pd
from cachetools import LRUCache, cached
from scipy.special import logsumexp

from bench.core.blocks import independent
from bench.core.errors import is_out_of_memory
from bench.core.results import TABLES, Bound, BoundKind, Measurement
from bench.core.seeds import derive_seed
from bench.core.sequences import Kind
from bench.data.dataset import Images
from bench.runtime.compiled import CompiledMethod, Use
from bench.runtime.sharding import largest_divisor
from models.base.likelihood_model import LikelihoodModel
from models.base.units import bits_per_dim

Array = npt.NDArray[np.float64]

log = logging.getLogger(__name__)

VALUES_PER_BATCH = 2**21
"""Largest number of noise values (rows × D) in one evaluation batch: it bounds the memory."""
ROWS_PER_BATCH = 1024
"""Largest number of rows, images × samples, in one evaluation batch: beyond it nothing gets faster."""
KEPT_BYTES = 2**27
"""Of noise, for the next evaluation of the same images: an evaluation of 10,000 takes 2 MB for a VAE, 31 for a flow."""
WEIGHTS_AT_ONCE = 2**22
"""Largest number of log-weights that are held at once, unless a single image has more: 32 MiB."""


def bound_of(model: LikelihoodModel, importance_samples: int) -> Bound:
    """The bound that ``importance_samples`` log-weights of the model estimate; exact where each is log P(x)."""
    if model.is_exact:
        return Bound(BoundKind.EXACT, 1)
    if model.dequantisation_name == "none":
        return Bound(BoundKind.IMPORTANCE_WEIGHTED, importance_samples)
    return Bound(BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION, importance_samples, model.dequantisation_name)


@dataclass(frozen=True)
class LogLikelihood:
    """Per-image lower bounds on log P(x) in nats, and how well their weights determine them.

    Attributes:
        samples: k' = 1, 2, 4, … up to k, the number of importance samples (levels,).
        bounds: each image's bound from k' samples, averaged over the ⌊k/k'⌋ groups of k' among its weights; the last
            row is the bound from all (levels, n).
        monte_carlo_errors: standard deviation of each of ``bounds`` over draws of the weights (levels, n).
        effective_sample_size: (Σ w_i)² / Σ w_i² over each image's k weights (n,).
        dimensions: D, which bits/dim divides by.
        kind: the bound's kind and k.
        rates: log-weights per second of each batch after the first, which compiles; of that one if it was the only one.
        batch_size: log-weights in a batch.
        compile_seconds: what the first batch took beyond the median of those after it.
    """

    samples: npt.NDArray[np.int64]
    bounds: Array
    monte_carlo_errors: Array
    effective_sample_size: Array
    dimensions: int
    kind: Bound
    rates: Array
    batch_size: int
    compile_seconds: float

    @property
    def bound(self) -> Array:
        """log (1/k) Σ w_i for each image (n,)."""
        last: Array = self.bounds[-1]
        return last

    @property
    def monte_carlo_error(self) -> Array:
        """Standard deviation of each image's bound over draws of its k weights (n,); NaN where k is 1."""
        last: Array = self.monte_carlo_errors[-1]
        return last

    @property
    def bits_per_nat(self) -> float:
        """By which a bound in nats is multiplied for bits/dim, its sign changed: 1 / (D ln 2)."""
        return float(bits_per_dim(-1.0, self.dimensions))

    def measurements(self, split: str, kind: Kind = "image") -> list[Measurement]:
        """Mean bits/dim and NLL in nats, each with the standard error of the mean over images, or blocks of windows.

        Their Monte Carlo error is that of the mean, √(Σ e_i²) / n, as the images' noise is independent.
        """
        n = len(self.bound)
        monte_carlo = error_of_mean(self.monte_carlo_error)
        rows = []
        for metric, scale in (("bits_per_dim", self.bits_per_nat), ("nll_nats", 1.0)):
            values = -scale * self.bound
            rows.append(
                Measurement(
                    split,
                    metric,
                    float(np.mean(values)),
                    _standard_error(values, kind),
                    n,
                    self.kind,
                    scale * monte_carlo if math.isfinite(monte_carlo) else None,
                )
            )
        return rows

    def tightness(self, split: str, kind: Kind = "image") -> list[Measurement]:
        """The ELBO, and the effective sample size of the k weights: how far the bound has come, and how surely.

        Of an exact likelihood there is neither.
        """
        if self.kind.kind == BoundKind.EXACT:
            return []
        n = len(self.bound)
        elbo_bound = replace(self.kind, importance_samples=1)
        error, own_error = (_standard_error(each, kind) for each in (self.bounds[0], self.effective_sample_size))
        monte_carlo = error_of_mean(self.monte_carlo_errors[0])
        elbo = Measurement(
            split,
            "elbo_nats",
            float(np.mean(self.bounds[0])),
            error,
            n,
            elbo_bound,
            monte_carlo if math.isfinite(monte_carlo) else None,
        )
        effective = float(np.mean(self.effective_sample_size))
        return [elbo, Measurement(split, "effective_sample_size", effective, own_error, n, self.kind)]

    def table_by_image(self) -> pd.DataFrame:
        """One row an image: ``likelihood_by_image`` of the result schema."""
        columns = (np.arange(len(self.bound)), self.bound, self.monte_carlo_error, self.effective_sample_size)
        return pd.DataFrame(dict(zip(TABLES["likelihood_by_image"], columns, strict=True)))

    def table_by_samples(self) -> pd.DataFrame:
        """The mean bits/dim against the number of samples: ``bound_by_samples`` of the result schema."""
        means = -self.bits_per_nat * self.bounds.mean(axis=1)
        errors = [self.bits_per_nat * error_of_mean(row) for row in self.monte_carlo_errors]
        return pd.DataFrame(dict(zip(TABLES["bound_by_samples"], (self.samples, means, errors), strict=True)))


def _standard_error(values: Array, kind: Kind) -> float | None:
    """Of the mean over images, or over windows that resemble their neighbours; None of a single one."""
    own = independent(values, kind)
    with np.errstate(invalid="ignore"):  # infinite bounds are reported by the caller
        return float(np.std(own, ddof=1) / math.sqrt(len(own))) if len(own) > 1 else None


def error_of_mean(errors: Array) -> float:
    """Standard error of the mean of independent values with these: √(Σ e_i²) / n."""
    return float(np.sqrt(np.sum(np.square(errors))) / len(errors))


def likelihood_program(model: LikelihoodModel, use: Use = "often") -> CompiledMethod:
    """The program that computes the model's log-weights.

    Args:
        model: the model.
        use: how much will be asked of it.
    """
    return CompiledMethod(model, LikelihoodModel.log_weights_by_image, use)


def log_likelihood(
    model: LikelihoodModel,
    images: Images,
    importance_samples: int,
    seed: int,
    program: CompiledMethod | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    timed: bool = False,
    samples_at_once: int | None = None,
) -> LogLikelihood:
    """Importance-weighted bound on log P(x) for every image: log (1/k) Σ w_i (Burda et al. 2016, eq. 8).

    The noise of image i is a stream of its own, keyed by (seed, i): the same numbers enter whatever the batch size,
    the order or the backend, and two models evaluated with one seed see the same noise where its shape is the same.
    Where the host or the device has no room for a batch, half of it is tried, down to a single weight at once.
    Weights are averaged in double precision, in memory that does not grow with n, and with k only once a single image
    has more than four million.

    Args:
        model: a trained model.
        images: integer images (n, h, w, c).
        importance_samples: k; a model whose likelihood is exact has it computed once.
        seed: seed of the noise.
        program: the model's :func:`likelihood_program`, where it is at hand; else one is compiled.
        on_progress: called with the number of log-weights done and their total.
        timed: whether the speed counts: where there is one batch only, it is computed again, warm.
        samples_at_once: importance samples of an image in a batch; as many as have room, if not given. With 1 a bound
            of k samples takes the very program of an evaluation on validation, and compiles none of its own.
    """
    program = program or likelihood_program(model)
    if model.is_exact:
        importance_samples = 1
    noise_seed = derive_seed(seed, "posterior noise")
    total = len(images) * importance_samples
    values = max(model.dimensions, math.prod(model.posterior_noise_shape))
    rows = max(1, min(ROWS_PER_BATCH, VALUES_PER_BATCH // values))
    size = _BatchSize.within(rows, len(images), importance_samples, samples_at_once)
    batches: list[tuple[Array, Array, Array]] = []
    seconds: list[float] = []

    def log_weights_from(start: int) -> Array:
        """The log-weights of the images from ``start`` on, as many as are taken at once."""
        batch = images[start : start + size.images]
        # One shape for all batches, so that one program serves: the last is filled up with its own first image.
        filler = size.images - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[:1], filler, axis=0)]) if filler else batch
        shape = (size.samples, *model.posterior_noise_shape)
        whole = size.samples == importance_samples
        streams = [] if whole else _streams(noise_seed, start, size.images)
        log_weights = np.empty((size.images, importance_samples))
        for first in range(0, importance_samples, size.samples):
            noise = _only_noise(noise_seed, start, size.images, shape) if whole else _next_noise(streams, shape)
            the_last = start + len(batch) == len(images) and first + size.samples == importance_samples
            for _ in range(2 if timed and the_last and not seconds else 1):
                began = time.perf_counter()
                log_weights[:, first : first + size.samples] = program.run(padded, noise)
                seconds.append(time.perf_counter() - began)
            on_progress(start * importance_samples + len(batch) * (first + size.samples), total)
        return log_weights[: len(batch)]

    done = 0
    while done < len(images):
        try:
            log_weights = log_weights_from(done)
        except Exception as error:
            if size.rows == 1 or not is_out_of_memory(error):
                raise
            # The noise belongs to the image, so that the result is the same but for rounding.
            smaller = _BatchSize.within(size.rows // 2, len(images), importance_samples)
            log.warning("out of memory with %s at once: repeated with %s", size, smaller)
            size, seconds = smaller, []
            continue
        with np.errstate(invalid="ignore"):  # infinite bounds are reported by the caller, as a divergence
            batches.append(_summarise(log_weights))
        done += len(log_weights)
    bounds, errors, effective = (np.concatenate(parts, axis=-1) for parts in zip(*batches, strict=True))
    if model.is_exact:
        errors = np.zeros_like(errors)
    later = np.asarray(seconds[1:] or seconds)
    return LogLikelihood(
        samples=_sample_numbers(importance_samples),
        bounds=bounds,
        monte_carlo_errors=errors,
        effective_sample_size=effective,
        dimensions=model.dimensions,
        kind=bound_of(model, importance_samples),
        rates=size.rows / later,
        batch_size=size.rows,
        compile_seconds=max(0.0, seconds[0] - float(np.median(later))),
    )


def _streams(seed: int, start: int, n: int) -> list[np.random.Generator]:
    """The noise streams of the images ``start`` to ``start + n``."""
    return [np.random.Generator(np.random.Philox(key=(seed, start + i))) for i in range(n)]


def _next_noise(streams: list[np.random.Generator], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])


@cached(LRUCache(KEPT_BYTES, getsizeof=lambda noise: noise.nbytes), lock=Lock(), info=True)
def _only_noise(seed: int, start: int, n: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The noise of a batch whose images need no more than this: kept, as all evaluations on validation take it."""
    noise = np.empty((n, *shape), np.float32)
    # One stream, led to the beginning of each image's: a new one would ask the system for entropy it does not use.
    bits = np.random.Philox(key=(seed, start))
    stream, beginning = np.random.Generator(bits), bits.state
    for i in range(n):
        beginning["state"]["key"][1] = start + i
        bits.state = beginning
        stream.standard_normal(dtype=np.float32, out=noise[i])
    noise.flags.writeable = False
    return noise


@dataclass(frozen=True)
class _BatchSize:
    """How many images, and how many of their importance samples, are computed at once."""

    images: int
    samples: int

    @classmethod
    def within(cls, rows: int, images: int, importance_samples: int, most: int | None = None) -> _BatchSize:
        """The largest of at most ``rows`` log-weights, as many samples of an image as possible and at most ``most``."""
        samples = largest_divisor(importance_samples, min(rows, most or rows))
        return cls(max(1, min(images, rows // samples, WEIGHTS_AT_ONCE // importance_samples)), samples)

    @property
    def rows(self) -> int:
        return self.images * self.samples

    def __str__(self) -> str:
        return f"{self.images} images of {self.samples} samples"


def _sample_numbers(importance_samples: int) -> npt.NDArray[np.int64]:
    """1, 2, 4, … below k, and k."""
    doubled = 2 ** np.arange(importance_samples.bit_length())
    return np.append(doubled[doubled < importance_samples], importance_samples)


def _summarise(log_weights: Array) -> tuple[Array, Array, Array]:
    """Bounds and their Monte Carlo errors at each number of samples (levels, n), and effective sample sizes (n,).

    Below k, the error is that of a mean over independent groups. At k it is the delta method's for log (1/k) Σ w_i,
    √(k/(k-1) Σ (v_i - 1/k)²) with v_i = w_i / Σ w_j (Owen 2013, section 9.2); where few weights carry the sum, it is
    too small.
    """
    n, k = log_weights.shape
    bounds, errors = [], []
    log_sums = log_weights  # of groups of 1, then of 2, of 4, …
    for samples in _sample_numbers(k)[:-1]:
        groups = k // samples
        by_group = log_sums - math.log(samples)
        bounds.append(by_group.mean(axis=1))
        errors.append(by_group.std(axis=1, ddof=1) / math.sqrt(groups) if groups > 1 else np.full(n, np.nan))
        pairs = groups // 2 * 2
        log_sums = np.logaddexp(log_sums[:, :pairs:2], log_sums[:, 1:pairs:2])
    log_sum = logsumexp(log_weights, axis=1)
    # An image to which the model gives no probability at all has no weights to speak of.
    possible = np.isfinite(log_sum)
    shares = np.exp(log_weights - np.where(possible, log_sum, 0.0)[:, None])
    concentration = np.where(possible, np.sum(np.square(shares), axis=1), np.nan)
    bounds.append(log_sum - math.log(k))
    errors.append(np.sqrt(np.maximum(0.0, concentration - 1 / k) * k / (k - 1)) if k > 1 else np.full(n, np.nan))
    return np.stack(bounds), np.stack(errors), 1.0 / concentration
