"""The harness: studies of likelihood models, from the first trial to the report.

    from reparam_bench import Arm, GlowConfig, Integers, VAEConfig, run_study

    outcome = run_study([Arm(VAEConfig(), {"latent_size": Integers(4, 64, log=True)}), Arm(GlowConfig())], "mnist")

Names are imported when they are first used: importing this package is instant.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.registry import register_dataset as register_dataset
    from bench.evaluation.metrics import EvaluationContext as EvaluationContext
    from bench.evaluation.metrics import register_metric as register_metric
    from bench.study.config import RECIPE as RECIPE
    from bench.study.config import TrainingConfig as TrainingConfig
    from bench.study.definition import Arm as Arm
    from bench.study.definition import Study as Study
    from bench.study.search_space import Choices as Choices
    from bench.study.search_space import Integers as Integers
    from bench.study.search_space import Reals as Reals
    from bench.workflows.run import StudyOutcome as StudyOutcome
    from bench.workflows.run import run_study as run_study

# A script's own model imports TensorFlow before anything of ours does, and its C++ writes many lines on starting.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_MODULES = {
    "bench.data.registry": ("register_dataset",),
    "bench.evaluation.metrics": ("EvaluationContext", "register_metric"),
    "bench.study.config": ("RECIPE", "TrainingConfig"),
    "bench.study.definition": ("Arm", "Study"),
    "bench.study.search_space": ("Choices", "Integers", "Reals"),
    "bench.workflows.run": ("StudyOutcome", "run_study"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def _check_packages() -> None:
    """Check that the packages beside this one are ours: a folder of that name near a user's script hides them.

    Raises:
        ImportError: one is not; the message says the way out.
    """
    root = Path(__file__).resolve().parents[1]
    for package in ("models", "reports", "studies"):
        spec = find_spec(package)
        places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
        # A served model brings only the packages that it needs.
        if places and not any(Path(place).resolve() == root / package for place in places):
            hidden = places[0]
            raise ImportError(
                f"reparam-bench's package {package!r} is hidden by {hidden}: import from `reparam_bench`, which "
                "finds its own packages first, or rename that"
            )


_check_packages()
