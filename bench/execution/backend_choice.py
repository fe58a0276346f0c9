"""Measures which backend trains a study faster on this machine, in about a minute, and caches the result.

python -m bench.execution.backend_choice BACKEND < JOB      # measures one backend in its own process
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from bench.core.digests import json_digest
from bench.core.errors import SettingsError
from bench.core.extensions import code_extensions, load_extension
from bench.core.file_locks import locked
from bench.core.files import write_file
from bench.runtime.backend import BACKENDS, installed_backends, select_backend
from bench.runtime.backend_process import run_on_backend
from bench.runtime.provenance import code_version, processor
from bench.study.config import RunConfig
from bench.study.definition import Arm, BoundStudy
from bench.study.plan import middle_values, shapes

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_KEPT = TypeAdapter(dict[str, Annotated[dict[str, _Seconds], Field(min_length=1)]])


def choose_backend(bound: BoundStudy, say: Callable[[str], None]) -> str:
    """Choose the installed backend that is expected to finish the study first.

    Each backend trains the middle of every arm's sweep for some seconds, on random images of the data's shape. The time
    to the first step counts once per shape of model that the search is likely to train, the time of a step for all
    steps of all runs. The choice is cached in the output folder: the same command, also with another budget, continues
    with the same backend.

    Args:
        bound: the study; its own ``backend`` is ignored.
        say: prints a line.

    Raises:
        SettingsError: no backend can train the study's models, or the cached choice was altered.
        LockFileError: its lock cannot be opened.
    """
    installed = installed_backends()
    job = _make_job(bound)
    # A larger budget continues a study, by the backend that it was begun with.
    of_speed = {name: RunConfig.model_validate(config).without_budget for name, config in job["configs"].items()}
    known = {
        "job": {**job, "configs": of_speed},
        "processor": processor(),
        "versions": [code_version(name) for name in installed],
    }
    key = json_digest(known)[:16]
    path = bound.settings.output / "backends.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock")):
        kept = _read(path)
        if key not in kept:
            say(f"measuring which of {', '.join(installed)} is faster here, which takes a minute")
            kept[key] = _measure_backends(bound, installed, job)
            write_file(path, json.dumps(kept, indent=1))
    expected = kept[key]
    if not set(expected) <= set(installed):
        raise _damaged(path, f"it names {', '.join(sorted(set(expected) - set(installed)))}")
    chosen = min(expected, key=lambda name: expected[name])
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in expected.items())
    say(f"backend {chosen}, chosen by its expected training time of the study as it was begun: {times}")
    return chosen


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The cached seconds by backend, of each question that was asked.

    Raises:
        SettingsError: the file holds anything else.
    """
    try:
        return _KEPT.validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise _damaged(path, str(reason)) from error


def _damaged(path: Path, reason: str) -> SettingsError:
    # It is not measured again unasked: the answer may differ, and the same command would begin another study.
    return SettingsError(
        f"{path}, which keeps the choice of --backend auto, was altered ({reason}): remove it to measure again, or "
        f"give --backend {' or '.join(BACKENDS)}"
    )


def _make_job(bound: BoundStudy) -> dict[str, Any]:
    """The configurations to measure, as JSON."""
    configs = {
        arm.name: bound.configure(arm, middle_values(arm.sweep)).model_dump(mode="json") for arm in bound.study.arms
    }
    return {"configs": configs, "shape": list(bound.info.image_shape), "grey_levels": bound.info.grey_levels}


def _measure_backends(bound: BoundStudy, installed: list[str], job: dict[str, Any]) -> dict[str, float]:
    """Expected training seconds of the whole study by backend, without backends that fail."""
    expected, reasons = {}, []
    for name in installed:
        try:
            files = [str(each.path) for each in code_extensions()]
            seconds = run_on_backend("bench.execution.backend_choice", name, {**job, "extensions": files})
        except SettingsError as error:
            reasons.append(f"{name}: {error}")
            continue
        expected[name] = sum(_study_seconds(bound, arm, *seconds[arm.name]) for arm in bound.study.arms)
    if not expected:
        raise SettingsError(f"backend='auto' found no backend that trains these models: {'; '.join(reasons)}")
    return expected


def _study_seconds(bound: BoundStudy, arm: Arm, first: float, step: float) -> float:
    """Training seconds of an arm: the first step of each shape, and the steps of all runs as far as each is trained."""
    settings = bound.settings
    whole_runs = sum(number * share for number, share in bound.search(arm)) + settings.seeds
    return shapes(arm, settings.trials) * first + whole_runs * bound.base(arm).training.steps * step


def measure(backend: str, job: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Seconds until the first step is done, and seconds of a later step, by arm."""
    select_backend(backend)
    from bench.execution.speeds import begin_training, measure_steps, random_images

    for file in job["extensions"]:
        load_extension(file)
    images = random_images(tuple(job["shape"]), job["grey_levels"])
    measured = {}
    for name, values in job["configs"].items():
        config = RunConfig.model_validate(values)
        program, first = begin_training(config, images, job["grey_levels"])
        measured[name] = (first, measure_steps(program, images, config.training.batch_size)[0])
    return measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1], json.load(sys.stdin))) + "\n")
