"""Our side: the harness's own training by our recipe. Imported once the Keras backend is selected."""

from __future__ import annotations

from dataclasses import astuple
from importlib.metadata import version

import keras
import numpy as np

from bench.core.errors import DivergedError
from bench.data.dataset import DatasetInfo, Split, TuningData
from tests.benchmarks.peers.likelihood.recipe import model, recipe
from tests.benchmarks.peers.likelihood.side import Answer
from tests.benchmarks.peers.likelihood.works import Run
from tests.benchmarks.recipes.configuration import configuration
from tests.benchmarks.recipes.curve import Evaluation, learning_curve


def train(run: Run) -> Answer:
    """One training by :func:`bench.training.loop.train`."""
    work = run.of
    config, training = model(work), recipe(work, run.learning_rate, run.images)
    backend = keras.backend.backend()
    versions = {"keras": version("keras"), backend: version(backend)}
    so_far: list[Evaluation] = []
    note = ""
    try:
        evaluations = learning_curve(_data(run), config, training, run.seed, work.metric, so_far.append)
    except DivergedError as error:
        # Their seconds count evaluations, too: those of a training that failed are not compared closely.
        evaluations, note = so_far, f"diverged: {error}"
    return Answer([astuple(each) for each in evaluations], versions, configuration(config, training), note)


def _data(run: Run) -> TuningData:
    architecture = run.of.architecture
    with np.load(run.file) as arrays:
        train, validation = Split(arrays["train"]), Split(arrays["validation"])
    sizes = {"train": len(train), "validation": len(validation), "test": 0}
    info = DatasetInfo(run.of.data, architecture.image_shape, architecture.grey_levels, sizes, 0, "See the page.")
    return TuningData(info, run.of.data, train, validation)
