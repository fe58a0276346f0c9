"""Which backend is the faster one for a study on this machine: measured in a minute, and remembered.

python -m bench.execution.backend_choice BACKEND < JOB      # what is measured of one backend, in a process of its own
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from filelock import FileLock

from bench.core.errors import SettingsError
from bench.runtime.backend import BACKENDS, select_backend
from bench.runtime.provenance import code_version, processor
from bench.study.config import RunConfig
from bench.study.definition import Arm, BoundStudy
from bench.study.plan import middle_values
from bench.study.search_space import Choices, Integers

WARM_SECONDS = 2.0
"""For which a compiled program trains before its speed counts."""
IMAGES = 2048
"""Random images of the data's shape that are trained on."""


def choose_backend(bound: BoundStudy, say: Callable[[str], None]) -> str:
    """The installed backend that will be done with the study first.

    Each trains the middle of every arm's sweep for some seconds, on random images of the data's shape. The time to
    the first step counts for each shape of model that the search is likely to meet, that of a step for each run. The
    choice is kept in the study's output folder: the same command goes on with the same backend.

    Args:
        bound: the study, whose own ``backend`` does not matter.
        say: told what was found.

    Raises:
        SettingsError: no backend can train the study's models.
    """
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    job = _job(bound)
    known = {"job": job, "processor": processor(), "versions": [code_version(name) for name in installed]}
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    path = bound.settings.output / "backends.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        if key not in kept:
            say(f"measuring which of {', '.join(installed)} is the faster one here, which takes a minute")
            kept[key] = _measured(bound, installed, job)
            path.write_text(json.dumps(kept, indent=1))
    expected: dict[str, float] = kept[key]
    chosen = min(expected, key=lambda name: expected[name])
    told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in expected.items())
    say(f"backend {chosen}, chosen by its expected training time of the whole study: {told}")
    return chosen


def _job(bound: BoundStudy) -> dict[str, Any]:
    """What is to be measured, as JSON."""
    configs = {
        arm.name: bound.configure(arm, middle_values(arm.sweep)).model_dump(mode="json") for arm in bound.study.arms
    }
    return {"configs": configs, "shape": list(bound.info.image_shape), "grey_levels": bound.info.grey_levels}


def _measured(bound: BoundStudy, installed: list[str], job: dict[str, Any]) -> dict[str, float]:
    """Expected seconds of training of the whole study, by backend; those that fail are left out."""
    expected, reasons = {}, []
    for name in installed:
        environment = {variable: value for variable, value in os.environ.items() if variable != "KERAS_BACKEND"}
        ended = subprocess.run(  # noqa: S603 - this very module
            [sys.executable, "-m", "bench.execution.backend_choice", name],
            input=json.dumps(job),
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            reasons.append(f"{name}: {(ended.stderr.strip().splitlines() or ['no message'])[-1]}")
            continue
        seconds = json.loads(ended.stdout.splitlines()[-1])
        expected[name] = sum(_study_seconds(bound, arm, *seconds[arm.name]) for arm in bound.study.arms)
    if not expected:
        raise SettingsError(f"backend='auto' found none that trains these models: {'; '.join(reasons)}")
    return expected


def _study_seconds(bound: BoundStudy, arm: Arm, first: float, step: float) -> float:
    """Of an arm's training: the time to the first step of each shape, and all steps."""
    settings = bound.settings
    shapes = 1
    for name, parameter in arm.sweep.items():
        if isinstance(parameter, Integers):
            shapes *= parameter.high - parameter.low + 1
        elif isinstance(parameter, Choices):
            shapes *= len(parameter.values)
        elif name != "learning_rate":
            shapes = settings.trials
    runs = settings.trials + settings.seeds
    return min(shapes, settings.trials) * first + runs * bound.base(arm).training.steps * step


def measure(backend: str, job: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Seconds to the first step, and of a warm one, by arm."""
    select_backend(backend)
    from bench.training.loop import compile_for_training
    from bench.training.program import training_program
    from models.registry import build_model

    height, width, channels = job["shape"]
    dtype = np.uint8 if job["grey_levels"] <= 256 else np.uint16
    generator = np.random.default_rng(0)
    images = generator.integers(0, job["grey_levels"], (IMAGES, height, width, channels), dtype=dtype)
    measured = {}
    for name, values in job["configs"].items():
        config = RunConfig.model_validate(values)
        began = time.perf_counter()
        model = build_model(config.model, (height, width, channels), job["grey_levels"])
        compile_for_training(model, config.training)
        program = training_program(model)
        program.initialise(images)
        order = generator.integers(0, IMAGES, (4096, config.training.batch_size))
        program.train(images, None, order, 0, 1)
        first = time.perf_counter() - began
        done, began = 1, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < WARM_SECONDS and done < len(order):
            stop = min(len(order), max(done + 1, round(done * math.e)))
            program.train(images, None, order, done, stop)
            done = stop
        measured[name] = (first, elapsed / max(1, done - 1))
    return measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], json.load(sys.stdin))) + "\n")
