"""Training with matrix products of several precisions: its speed, and what becomes of the likelihood.

Each precision trains the same model on the same batches and noise; what it has learned is then evaluated in float32.
Imported once JAX is selected.
"""

from __future__ import annotations

import random
import time

import jax
import numpy as np

from bench.core.seeds import derive_seed
from bench.evaluation.likelihood import log_likelihood
from bench.study.config import TrainingConfig
from bench.training.loop import train
from models.glow.config import GlowConfig
from models.registry import build_model
from tests.benchmarks.accelerator.data import tuning_data
from tests.benchmarks.accelerator.part import Part
from tests.benchmarks.accelerator.rows import FAILED

FLOAT32 = "highest"
PRECISIONS = (FLOAT32, "default", "TF32_TF32_F32", "BF16_BF16_F32", "BF16_BF16_F32_X3")
"""Names that ``jax.default_matmul_precision`` takes; ``default`` is what training without a choice gets."""
PRODUCTS = 8
CHECKED = 256
"""Rows of the product that are compared with double precision."""


def measure(part: Part) -> None:
    """The product itself, then the training, in each precision."""
    data = tuning_data(part.data, part.sizes.validation_images)
    levels, depth, width = part.sizes.precision_glow
    config = GlowConfig(levels=levels, flow_depth=depth, hidden_channels=width)
    training = TrainingConfig(warmup_steps=10, batch_size=64, images=part.sizes.precision_images, evaluations=4)
    in_float32 = None
    for name in PRECISIONS:
        subject = f"{name}: Glow K={depth} L={levels} width {width}, {training.images} images"
        try:
            with jax.default_matmul_precision(name):
                _tell_product(part, subject)
                random.seed(0)
                model = build_model(config, data.info.image_shape, data.info.grey_levels)
                log = train(model, data, training, seed=0)
        except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as refusal:
            part.tell(subject, FAILED, note=f"not supported here: {str(refusal).splitlines()[0]}")
            continue
        part.tell(subject, "training, images/s", float(np.median(log.images_per_second())))
        with jax.default_matmul_precision(FLOAT32):
            judged = log_likelihood(model, data.validation.images, 1, derive_seed("validation"))
        figure = next(row for row in judged.measurements("validation") if row.metric == "bits_per_dim")
        part.tell(subject, "validation bits/dim", figure.value, error=figure.standard_error)
        if name == FLOAT32:
            in_float32 = judged.bound
        elif in_float32 is not None:
            worse = judged.bits_per_nat * (in_float32 - judged.bound)  # by image, which both have in common
            error = float(np.std(worse, ddof=1) / np.sqrt(len(worse)))
            part.tell(subject, "bits/dim above float32's", float(np.mean(worse)), error=error)


def _tell_product(part: Part, subject: str) -> None:
    """Operations a second of a product of large matrices, and how far it is from double precision.

    The error tells what is really computed: some devices accept a name and compute as before.
    """
    size = part.sizes.product
    matrix = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    operand = jax.device_put(matrix)
    product = jax.jit(lambda a, b: a @ b)
    found = product(operand, operand).block_until_ready()
    best = float("inf")
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        product(operand, operand).block_until_ready()
        best = min(best, time.perf_counter() - began)
    exact = matrix[:CHECKED].astype(np.float64) @ matrix.astype(np.float64)
    error = np.linalg.norm(np.asarray(found[:CHECKED], np.float64) - exact) / np.linalg.norm(exact)
    part.tell(subject, "product, operations/s", 2.0 * size**3 / best)
    part.tell(subject, "product, relative error", float(error))
