"""Draws any number of samples by one program of a fixed batch size."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bench.data.dataset import Images
from bench.runtime.compiled import CompiledMethod, Use
from models.base.distributions import Tensor
from models.base.likelihood_model import LikelihoodModel

BATCH_SIZE = 256
"""Images in a large batch: a processor gains nothing from a larger one, and it fits any memory."""
VALUES_PER_BATCH = 2**20
"""Largest number of pixel values in a batch, which bounds the memory."""


class Sampler:
    """Draws images from a model.

    Args:
        model: a trained model.
        batch_size: images per call of the program; fewer where the images are large.
        use: how much the program will run, as for :class:`bench.runtime.compiled.CompiledMethod`.
    """

    def __init__(self, model: LikelihoodModel, batch_size: int = BATCH_SIZE, use: Use = "often") -> None:
        self.model = model
        self.batch_size = max(1, min(batch_size, VALUES_PER_BATCH // model.dimensions))
        self._program = CompiledMethod(model, _generate, use)
        self._first_seconds: float | None = None

    def draw(self, n: int, temperature: float, seed: int) -> Images:
        """``n`` images at a temperature, integers (n, h, w, c), the same for the same seed; -1 where not finite."""
        generator = np.random.default_rng(seed)
        temperatures, drawn = np.full(self.batch_size, temperature, dtype=np.float32), []
        for _ in range(-(-n // self.batch_size)):
            noise = generator.standard_normal((self.batch_size, self.model.prior_noise_size), dtype=np.float32)
            drawn.append(self._run(noise, temperatures))
        return np.concatenate(drawn)[:n]

    def draw_at(self, temperatures: Sequence[float], n: int, seed: int) -> Images:
        """``n`` images at each temperature from the same noise: (temperatures·n, h, w, c), each as by :meth:`draw`."""
        generator = np.random.default_rng(seed)
        noise = np.tile(
            generator.standard_normal((n, self.model.prior_noise_size), dtype=np.float32), (len(temperatures), 1)
        )
        at = np.repeat(np.asarray(temperatures, dtype=np.float32), n)
        # Whole batches, the last one filled up with the first rows again.
        rows = np.arange(-(-len(at) // self.batch_size) * self.batch_size) % len(at)
        batches = rows.reshape(-1, self.batch_size)
        return np.concatenate([self._run(noise[batch], at[batch]) for batch in batches])[: len(at)]

    def _run(self, noise: npt.NDArray[np.float32], temperatures: npt.NDArray[np.float32]) -> Images:
        began = time.perf_counter()
        images = self._program.run(noise, temperatures)
        if self._first_seconds is None:
            self._first_seconds = time.perf_counter() - began
        return images

    def take_first_seconds(self) -> float:
        """Seconds of the first batch since the last call of this, or since the start; 0 where none was drawn.

        A run may draw while it trains, and its program is warm once sampling is timed.
        """
        seconds, self._first_seconds = self._first_seconds, None
        return seconds or 0.0


def _generate(model: LikelihoodModel, noise: Tensor, temperature: Tensor) -> Tensor:
    return model.generate(noise, temperature[:, None])
