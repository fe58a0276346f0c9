"""A trained model as an MLflow model: its Keras file, the code that serves it, its signature and requirements."""

from __future__ import annotations

import ast
import logging
import sys
import tempfile
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

import keras
import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

import models
from bench.core.packages import OWN_PACKAGES
from bench.data.dataset import Images
from bench.tracking import served_model
from bench.tracking.schema import MODEL_FILE
from models.base.likelihood_model import LikelihoodModel
from models.base.registry import registered

# It warns wherever pip itself is not installed, which the requirements do not need to name.
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)

PARAMETERS = ParamSchema(
    [
        ParamSpec("task", "string", "bits_per_dim"),
        ParamSpec("importance_samples", "long", 64),
        # None: samples from another seed at each request, scores from the same one.
        ParamSpec("seed", "long", None),
        ParamSpec("n", "long", 16),
        ParamSpec("temperature", "double", 1.0),
    ]
)
"""What a request may set: the task, and what each task is done with. See :mod:`bench.tracking.served_model`."""
SIGNATURE = ModelSignature(None, Schema([TensorSpec(np.dtype(np.float64), (-1,))]), PARAMETERS)
"""Scores out, and no schema of what comes in: MLflow would demand images of who asks for samples.

The model checks its images itself. An integer schema would moreover cut off decimals in silence, and score images in
0..1 as black ones.
"""
IMPORT_NAME = "reparam_bench"
"""The module that offers what all our packages do; see :mod:`bench.core.reparam_bench`."""


def write_package(model: LikelihoodModel, example: Images, folder: Path) -> None:
    """Write an MLflow model that ``mlflow models serve`` and ``mlflow.pyfunc.load_model`` take.

    The optimizer stays out: it weighs more than the model. Nothing in the package is pickled. A family of a user's own
    brings the file that registers it, and names what that imports among the requirements. Of which run it is, and which
    logged model, is written when the tracking store has said so.

    Args:
        model: the trained model.
        example: an image (1, h, w, c) as an example of what to send.
        folder: where to write; it must not exist.
    """
    source = registered(model.configuration.family).source
    imported = set() if source is None else imported_packages(source)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, Path(MODEL_FILE).name)
        model.bare_copy().save(file)
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(served_model.__file__)),
            artifacts={"model": str(file), **({} if source is None else {"extension": str(source)})},
            code_paths=[str(path) for path in _own_code(imported)],
            signature=SIGNATURE,
            metadata={"image_shape": list(model.image_shape), "grey_levels": model.grey_levels},
            input_example=(example.astype(np.float64), {"task": "bits_per_dim"}),
            pip_requirements=_requirements(imported),
            model_config={"backend": keras.backend.backend()},
        )


def _own_code(imported: set[str]) -> list[Path]:
    """The packages of ours that the served model imports; ``imported`` by a user's own file."""
    root = Path(str(models.__file__)).parents[1]
    packages = [root / package for package in OWN_PACKAGES if package in {"models", *imported}]
    module = root / "bench" / "core" / f"{IMPORT_NAME}.py"
    return [*packages, module] if IMPORT_NAME in imported else packages


def imported_packages(source: Path) -> set[str]:
    """The packages that a Python file imports, wherever in the file, without those of Python itself.

    Raises:
        SyntaxError: the file is not Python.
    """
    packages: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
            if IMPORT_NAME in packages:
                packages |= set(OWN_PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.partition(".")[0])
            if node.module == IMPORT_NAME:
                packages |= {_package_of(alias.name) for alias in node.names}
    return packages - set(sys.stdlib_module_names)


def _package_of(name: str) -> str:
    """The package of ours that a name of the module :data:`IMPORT_NAME` comes from."""
    known = (package for package in ("bench", "models") if name in import_module(package).__all__)
    return next(known, "reports")


def _requirements(imported: set[str]) -> list[str]:
    """What the served model imports, in the versions that trained it; ``imported`` by a user's own file."""
    known = packages_distributions() if imported else {}
    of_the_user = {known[package][0] for package in imported - {*OWN_PACKAGES, IMPORT_NAME} if package in known}
    own = ("mlflow", "keras", keras.backend.backend(), "numpy", "pydantic")
    return [f"{package}=={version(package)}" for package in (*own, *sorted(of_the_user - set(own)))]
