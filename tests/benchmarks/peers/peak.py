"""The most that the processor does: a large matrix product by NumPy's BLAS, in a process that has nothing else."""

from __future__ import annotations

import time
from importlib.metadata import version

import numpy as np

from tests.benchmarks.peers.side import Side
from tests.benchmarks.peers.works import GlowWork, VAEWork

PRODUCT = "product"
SIZE = 2048


def prepare(work: GlowWork | VAEWork) -> Side:
    """The product of two square matrices, the same for every work."""
    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)
    result = np.empty_like(matrix)

    def product_seconds() -> float:
        began = time.perf_counter()
        np.matmul(matrix, matrix, out=result)
        return time.perf_counter() - began

    def best(seconds: float) -> float:
        """Operations a second of the fastest of the products that fit into so many seconds."""
        began, found = time.perf_counter(), [product_seconds()]
        while time.perf_counter() - began < seconds:
            found.append(product_seconds())
        return 2 * SIZE**3 / min(found)

    best(0.0)
    return Side({"device": "cpu", "versions": {"numpy": version("numpy")}}, {PRODUCT: best})
