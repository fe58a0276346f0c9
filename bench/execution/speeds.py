"""Measures how fast a study's arms are on this machine, and keeps what was measured in the output folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from bench.core.digests import json_digest
from bench.core.errors import SettingsError
from bench.core.file_locks import locked
from bench.core.files import write_file
from bench.core.logs import shorten
from bench.data.dataset import DatasetInfo
from bench.evaluation.cost.energy import EnergyMeter, readable_meters
from bench.evaluation.likelihood import likelihood_program, log_likelihood
from bench.runtime.backend import backend_errors, cores, device
from bench.runtime.provenance import code_version, processor
from bench.study.config import RunConfig
from bench.study.definition import BoundStudy
from bench.study.duration import format_duration
from bench.study.plan import middle_values
from bench.study.reference_model import NAME, reference_study
from bench.study.speed import Speed, slowest
from bench.training.loop import compile_for_training
from bench.training.program import TrainingProgram, training_program
from models.base.config import Shape
from models.registry import build_model

log = logging.getLogger(__name__)

_KEPT = TypeAdapter(dict[str, dict[str, Speed]])
WARM_SECONDS = 2.0
"""Seconds for which a compiled program is measured."""
IMAGES = 2048
"""Number of random images to train on."""
LIKELIHOODS = 512
"""Log-weights of the first measurement of likelihoods, which grows until it takes long enough."""
SAMPLES = 16
"""Importance samples of an image there."""
FILE = "speeds.json"


def measured_speeds(bound: BoundStudy, say: Callable[[str], None]) -> dict[str, Speed]:
    """The speed of each arm, and that of the reference model, by name.

    That of an arm is the slower of two configurations: its own, and the middle of its sweep. Where others are faster, a
    study that has a time adds trials and trains final runs for longer; where they were slower than was planned, it
    would have to train these for less. It is measured once, by the backend that this process runs on, and cached: the
    same command finds the same budget.

    Args:
        bound: the study.
        say: prints a line.

    Raises:
        SettingsError: what was cached was altered, or no configuration of an arm can be trained.
        LockFileError: its lock cannot be opened.
    """
    configs = {
        arm.name: [bound.configure(arm, each) for each in (bound.first_values(arm), middle_values(arm.sweep))]
        for arm in bound.study.arms
    }
    if (reference := reference_study(bound)) is not None:
        configs[NAME] = [reference.base(reference.study.arms[0])]
    known = {
        "configs": {name: [each.without_budget for each in measured] for name, measured in configs.items()},
        "shape": list(bound.info.image_shape),
        "grey_levels": bound.info.grey_levels,
        "processor": processor(),
        "device": device(),
        "cores": cores(),
        "meters": readable_meters(),
        "version": code_version(bound.settings.backend),
    }
    key = json_digest(known)[:16]
    path = bound.settings.output / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock")):
        try:
            kept = _KEPT.validate_json(path.read_bytes()) if path.exists() else {}
        except (OSError, ValidationError) as error:
            raise SettingsError(
                f"{path}, which keeps the speeds by which budgets are turned into images, was altered: remove it to "
                "measure again, which may lead to slightly other budgets"
            ) from error
        if key not in kept:
            say("measuring how fast the arms are here")
            found = {name: _measure(name, each, bound.info, say) for name, each in configs.items()}
            kept[key] = {name: speed for name, speed in found.items() if speed is not None}
            if missing := next((name for name, speed in found.items() if speed is None and name != NAME), None):
                raise SettingsError(
                    f"the speed of {missing} could not be measured: give epochs or images as the budget"
                )
            write_file(path, _KEPT.dump_json(kept, indent=1))
    for name, speed in kept[key].items():
        rate = configs[name][-1].training.batch_size / speed.step_seconds
        say(
            f"{name}: {rate:,.0f} images/s of training after {format_duration(speed.first_seconds)} of compiling, "
            f"{1 / max(speed.likelihood_seconds, 1e-9):,.0f} likelihoods/s"
        )
    return kept[key]


def _measure(name: str, configs: list[RunConfig], info: DatasetInfo, say: Callable[[str], None]) -> Speed | None:
    """The slowest speed of several configurations that can be trained, in steps of the last one's batch size."""
    failures: tuple[type[Exception], ...] = (MemoryError, OSError, RuntimeError, ValueError, *backend_errors())
    found, batch_size = [], configs[-1].training.batch_size
    for config in [each for i, each in enumerate(configs) if each not in configs[:i]]:
        try:
            speed = measure_speed(config, info.image_shape, info.grey_levels)
        except failures as error:
            log.warning("%s: its speed could not be measured", name, exc_info=True)
            say(f"{name}: its speed could not be measured, {shorten(str(error))}")
        else:
            found.append(speed.in_steps_of(batch_size / config.training.batch_size))
    return slowest(found) if found else None


def measure_speed(config: RunConfig, image_shape: Shape, grey_levels: int) -> Speed:
    """Train a configuration for some seconds, and measure its likelihood, on random images."""
    images = random_images(image_shape, grey_levels)
    program, first_seconds = begin_training(config, images, grey_levels)
    with EnergyMeter() as meter:
        step_seconds, steps = measure_steps(program, images, config.training.batch_size)
    joules = None if not meter.joules else meter.joules / steps
    return Speed(
        first_seconds=first_seconds,
        step_seconds=step_seconds,
        likelihood_seconds=_likelihood_seconds(program, images),
        step_joules=joules,
    )


def random_images(image_shape: Shape, grey_levels: int) -> np.ndarray[Any, Any]:
    """Random images to train on (n, h, w, c)."""
    dtype = np.uint8 if grey_levels <= 256 else np.uint16
    return np.random.default_rng(0).integers(0, grey_levels, (IMAGES, *image_shape), dtype=dtype)


def begin_training(config: RunConfig, images: np.ndarray[Any, Any], grey_levels: int) -> tuple[TrainingProgram, float]:
    """Build and compile a model, and take its first step; its program, and the seconds that this took."""
    began = time.perf_counter()
    model = build_model(config.model, images.shape[1:], grey_levels)
    compile_for_training(model, config.training)
    program = training_program(model)
    program.initialise(images)
    program.train(images, None, _order(config.training.batch_size), 0, 1)
    return program, time.perf_counter() - began


def measure_steps(program: TrainingProgram, images: np.ndarray[Any, Any], batch_size: int) -> tuple[float, int]:
    """Mean seconds of a training step of a compiled program, and the steps that were measured."""
    order = _order(batch_size)
    done, began = 1, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < WARM_SECONDS and done < len(order):
        stop = min(len(order), max(done + 1, round(done * math.e)))
        program.train(images, None, order, done, stop)
        done = stop
    return elapsed / max(1, done - 1), max(1, done - 1)


def _order(batch_size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, IMAGES, (4096, batch_size))


def _likelihood_seconds(program: TrainingProgram, images: np.ndarray[Any, Any]) -> float:
    """Seconds of one log-weight of one image, once its program is compiled."""
    model = program.model
    samples = 1 if model.is_exact else SAMPLES
    compiled = likelihood_program(model)
    count = max(2, LIKELIHOODS // samples)
    while True:
        chosen = images[:count]
        log_likelihood(model, chosen, samples, 0, compiled)
        began = time.perf_counter()
        log_likelihood(model, chosen, samples, 0, compiled)
        seconds = time.perf_counter() - began
        if seconds > WARM_SECONDS / 4 or count >= IMAGES:
            return seconds / (count * samples)
        count = min(IMAGES, 4 * count)
