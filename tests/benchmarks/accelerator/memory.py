"""The memory of a Glow's training step against its depth, with and without computing the inside of steps again."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.benchmarks.accelerator.part import Part

STEPS = 5


def measure(part: Part) -> None:
    """Each step in a process of its own: the peak is that of a process."""
    levels, width = part.sizes.memory_glow
    batch, shape = part.sizes.memory_images
    height, rows, channels = shape
    work = f"width {width} L={levels}, batch {batch}, {channels}x{height}x{rows}"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as processes:
        for depth in part.sizes.depths:
            for recompute in (False, True):
                found = processes.submit(_step, depth, recompute, levels, width, batch, shape).result()
                subject = f"Glow K={depth} {work}, {'inside computed again' if recompute else 'all kept'}"
                for figure, value in found.items():
                    part.tell(subject, figure, value)


def _step(
    depth: int, recompute: bool, levels: int, width: int, batch: int, shape: tuple[int, int, int]
) -> dict[str, float]:
    """Compile a training step and take some: its memory and its time."""
    from bench.runtime.backend import select_backend

    select_backend("jax")
    import jax
    import numpy as np

    from bench.evaluation.cost.memory import peak_device_bytes
    from bench.study.config import TrainingConfig
    from bench.training.loop import compile_for_training
    from bench.training.program import draw_noise, make_gradient_function
    from models.glow.config import GlowConfig
    from models.registry import build_model

    config = GlowConfig(levels=levels, flow_depth=depth, hidden_channels=width, recompute=recompute)
    model = build_model(config, shape, 256)
    compile_for_training(model, TrainingConfig(batch_size=batch))
    gradients = make_gradient_function(model, microbatches=1)

    def step(state: Any, images: Any) -> Any:
        weights, others, optimizer_values = state
        noise, others = draw_noise(model, others, batch)
        _, others, found = gradients(weights, others, images, None, noise)
        weights, optimizer_values = model.optimizer.stateless_apply(optimizer_values, found, weights)
        return [weights, others, optimizer_values]

    owners = [model.trainable_variables, model.non_trainable_variables, model.optimizer.variables]
    state = [[variable.value for variable in own] for own in owners]
    images = np.random.default_rng(0).integers(256, size=(batch, *shape), dtype=np.uint8)
    compiled = jax.jit(step).lower(state, images).compile()
    found = {"temporary memory by XLA, bytes": float(compiled.memory_analysis().temp_size_in_bytes)}
    state = jax.block_until_ready(compiled(state, images))
    began = time.perf_counter()
    for _ in range(STEPS):
        state = compiled(state, images)
    jax.block_until_ready(state)
    found["seconds a step"] = (time.perf_counter() - began) / STEPS
    peak = peak_device_bytes()
    return found if peak is None else {**found, "peak of the device, bytes": float(peak)}
