"""Speed: images per second of likelihood evaluation and of sampling, warm, in several windows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.compiled import CompiledMethod
from bench.data.dataset import Images
from bench.results import Measurement
from models.likelihood_model import LikelihoodModel

WINDOWS = 5
WINDOW_SECONDS = 0.2


def speed(metric: str, rates: npt.NDArray[np.float64]) -> Measurement:
    """Median of ``rates`` (images per second) with the standard error of a median over them."""
    n = len(rates)
    # The median of normal observations varies √(π/2) times as much as their mean.
    error = float(np.std(rates, ddof=1) / np.sqrt(n) * np.sqrt(np.pi / 2)) if n > 1 else None
    return Measurement("throughput", metric, float(np.median(rates)), error, n)


def _rates(run: Callable[[], object], images: int) -> npt.NDArray[np.float64]:
    """Images per second in each window; ``run`` handles ``images`` and returns when its result is there."""
    run()
    began = time.perf_counter()
    run()
    repeats = max(1, round(WINDOW_SECONDS / (time.perf_counter() - began)))
    rates = []
    for _ in range(WINDOWS):
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        rates.append(images * repeats / (time.perf_counter() - began))
    return np.asarray(rates)


def throughput(model: LikelihoodModel, images: Images, batch_size: int) -> list[Measurement]:
    """Speed of one-sample bounds and of sampling, in images per second, compilation and warm-up excluded.

    The noise is drawn beforehand, and each call returns its result to the host, so that the device is done.

    Args:
        model: a trained model.
        images: integer images to evaluate, (n, h, w, c).
        batch_size: images per call, at most n.
    """
    batch = images[:batch_size]
    generator = np.random.default_rng(0)
    posterior_noise = generator.standard_normal((len(batch), 1, *model.posterior_noise_shape), dtype=np.float32)
    prior_noise = generator.standard_normal((len(batch), model.prior_noise_size), dtype=np.float32)
    evaluate = CompiledMethod(model, LikelihoodModel.log_weights_by_image, name="throughput_evaluate")
    generate = CompiledMethod(model, lambda model, noise: model.generate(noise), name="throughput_generate")
    return [
        speed("evaluate_images_per_second", _rates(lambda: evaluate.run(batch, posterior_noise), len(batch))),
        speed("sample_images_per_second", _rates(lambda: generate.run(prior_noise), len(batch))),
    ]
