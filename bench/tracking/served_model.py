"""The script that a logged model carries with it: bits/dim of images, and samples, behind MLflow's ``predict``.

MLflow copies this file and the package ``models`` into the artifact and runs it when the model is loaded ("models from
code"): no object of ours is pickled. It must therefore import nothing else of this project. A model of a user's own
family carries the file that registers it, which is imported first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
from mlflow.exceptions import MlflowException

VALUES_PER_BATCH = 2**20
"""Largest number of noise values in one batch: it bounds the memory."""
LARGEST_COUNT = 10_000
"""Of importance samples, and of images drawn: a request must not occupy the server for hours."""


class ServedModel(mlflow.pyfunc.PythonModel):
    """A likelihood model that answers two tasks, named by the parameter ``task``.

    ``bits_per_dim`` (the default) gives each image's bound on -log2 P(x) / D, from ``importance_samples`` weights, or
    its exact value where the model knows it: an anomaly score, high for images unlike those of training. All images see
    the same noise, that of ``seed``, so that an image's score does not depend on those sent with it. It is what
    ``model.log_prob_bound`` gives for that image alone.

    ``sample`` gives ``n`` images at ``temperature``, the same as ``model.sample``: others at each request, or those of
    ``seed`` where it is given; -1 where a value is not finite. It needs no images, and ignores them: send none, ``[]``.
    """

    def load_context(self, context: Any) -> None:
        """Load the Keras file, on the backend that trained it unless the process has chosen another."""
        os.environ.setdefault("KERAS_BACKEND", context.model_config["backend"])
        if "extension" in context.artifacts:
            _import_file(Path(context.artifacts["extension"]))
        from models.registry import load_model

        self.model = load_model(Path(context.artifacts["model"]))

    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # MLflow reads the hint, and warns of any other
        params: dict[str, Any] | None = None,
    ) -> npt.NDArray[Any]:
        """Bits/dim of each image (n,), or images (n, h, w, c), integers.

        Args:
            context: MLflow's own.
            model_input: images (n, h, w, c), whole numbers in 0..grey levels - 1; none for samples.
            params: ``task``, and ``importance_samples``, ``seed``, ``n``, ``temperature``.

        Raises:
            MlflowException: an image or a parameter is not of this kind; the server answers 400 with the reason.
        """
        request = params or {}
        task, seed = request["task"], request["seed"]
        if seed is not None and not 0 <= seed < 2**32:
            raise _refused(f"seed={seed} is out of range: it takes a number from 0 to {2**32 - 1}")
        if task == "bits_per_dim":
            images = self._checked(model_input)
            return self._bits_per_dim(images, _count("importance_samples", request), 0 if seed is None else seed)
        if task == "sample":
            temperature = float(request["temperature"])
            if not (np.isfinite(temperature) and temperature >= 0):
                raise _refused(f"temperature={temperature} is none: it takes a number from 0")
            return np.asarray(self.model.sample(_count("n", request), temperature, seed))
        raise _refused(f"task={task!r} is unknown: one of bits_per_dim, sample")

    def _checked(self, given: Any) -> npt.NDArray[np.int32]:
        shape, levels = self.model.image_shape, self.model.grey_levels
        try:
            images = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise _refused(f"the images are no array of numbers: {error}") from error
        if images.ndim != 4 or images.shape[1:] != shape or not len(images):
            raise _refused(f"the images have shape {images.shape}: this model takes (n, {', '.join(map(str, shape))})")
        wrong = ~((images >= 0) & (images <= levels - 1) & (images == np.round(images)))
        if wrong.any():
            raise _refused(
                f"the images hold {images[wrong][0]}: this model takes whole numbers from 0 to {levels - 1}, the grey "
                "levels of its training data, not scaled"
            )
        return images.astype(np.int32)

    def _bits_per_dim(self, images: npt.NDArray[np.int32], samples: int, seed: int) -> npt.NDArray[np.float64]:
        import keras

        from models.base.units import bits_per_dim

        model = self.model
        samples = 1 if model.is_exact else samples
        noise = keras.random.normal((samples, 1, *model.posterior_noise_shape), dtype=model.compute_dtype, seed=seed)
        size = max(1, VALUES_PER_BATCH // model.dimensions)
        images_at_once, samples_at_once = max(1, size // samples), min(size, samples)
        bounds = []
        for start in range(0, len(images), images_at_once):
            batch = images[start : start + images_at_once]
            log_weights = [
                np.asarray(keras.ops.convert_to_numpy(model.log_weights(batch, _for_each(part, len(batch)))))
                for part in (noise[i : i + samples_at_once] for i in range(0, samples, samples_at_once))
            ]
            bounds.append(np.logaddexp.reduce(np.concatenate(log_weights).astype(np.float64)) - np.log(samples))
        return np.asarray(bits_per_dim(np.concatenate(bounds), model.dimensions))


def _import_file(path: Path) -> None:
    """Import the file that registers the model's family, under a name that no other module has."""
    name = f"reparam_bench_served_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _refused(f"{path.name} is no Python file")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise


def _for_each(noise: Any, images: int) -> Any:
    """Noise (k, 1, …) for so many images: (k, images, …)."""
    import keras

    return keras.ops.repeat(noise, images, axis=1)


def _count(name: str, request: dict[str, Any]) -> int:
    value = int(request[name])
    if not 1 <= value <= LARGEST_COUNT:
        raise _refused(f"{name}={value} is out of range: 1 to {LARGEST_COUNT}")
    return value


def _refused(reason: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(reason)


mlflow.models.set_model(ServedModel())
