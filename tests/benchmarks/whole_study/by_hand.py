"""The loop that a competent user writes by hand: Optuna, a Keras model's own ``fit``, MLflow.

It is a script of its own, on the backend in KERAS_BACKEND, with Keras's, Optuna's and MLflow's defaults. It takes this
project's data and models, and the first configurations and ranges of ``vae_vs_glow``, so that both loops train the same
architectures on the same images. Runs are logged to ``mlflow.db`` in the current folder. The last line says, as JSON,
what came out of each arm.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import keras
import mlflow
import numpy as np
import optuna

from bench.data.dataset import Images
from bench.data.registry import load
from bench.study.config import RunConfig
from bench.study.definition import Arm
from bench.study.search_space import Choices, Integers
from models.base.likelihood_model import LikelihoodModel
from models.base.units import bits_per_dim
from models.registry import build_model
from studies.vae_vs_glow import STUDY

BATCH_SIZE = 64
INITIALISATION_IMAGES = 1024
IMPORTANCE_SAMPLES = 16

data = load("digits")
train_images = data.tuning.train.images
validation_images = data.tuning.validation.images


class LogEpoch(keras.callbacks.Callback):
    """Logs the losses of each epoch, and bits/dim on validation after it."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        validation = self.model.evaluate(validation_images, batch_size=BATCH_SIZE, verbose=0, return_dict=True)
        figures = {f"train_{name}": value for name, value in (logs or {}).items()}
        mlflow.log_metrics({**figures, "validation_bits_per_dim": validation["bits_per_dim"]}, step=epoch)


def propose(arm: Arm, trial: optuna.Trial) -> RunConfig:
    """The trial's model and training."""
    values: dict[str, Any] = {}
    for name, swept in arm.sweep.items():
        if isinstance(swept, Choices):
            values[name] = trial.suggest_categorical(name, swept.values)
        else:
            suggest = trial.suggest_int if isinstance(swept, Integers) else trial.suggest_float
            values[name] = suggest(name, swept.low, swept.high, log=swept.log)
    return first_of(arm).with_values(values)


def first_of(arm: Arm) -> RunConfig:
    """The arm's own configuration."""
    return RunConfig(model=arm.model, training=arm.training, dataset_digest="", backend=keras.backend.backend())


def compiled_model(config: RunConfig, epochs: int) -> LikelihoodModel:
    """A new model, ready to be trained."""
    model = build_model(config.model, data.info.image_shape, data.info.grey_levels)
    steps = epochs * -(-len(train_images) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(config.training.learning_rate, decay_steps=steps)
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=config.training.weight_decay, global_clipnorm=1.0)
    )
    model.initialise(train_images[:INITIALISATION_IMAGES])
    return model


def bound(model: LikelihoodModel, images: Images) -> float:
    """Bits/dim of the images, by the importance-weighted bound."""
    log_prob = keras.ops.convert_to_numpy(model.log_prob_bound(images, IMPORTANCE_SAMPLES, seed=0))
    return float(bits_per_dim(np.mean(log_prob), model.dimensions))


def search(arm: Arm, trials: int, epochs: int, seed: int) -> dict[str, float]:
    """Search one arm, and say what came out."""

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed + trial.number)
        config = propose(arm, trial)
        with mlflow.start_run(run_name=f"{arm.name} {trial.number}"):
            mlflow.log_params({"family": arm.family, "batch_size": BATCH_SIZE, "epochs": epochs, **trial.params})
            model = compiled_model(config, epochs)
            model.fit(train_images, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[LogEpoch()])
            value = bound(model, validation_images)
            mlflow.log_metric("bits_per_dim", value)
        return value

    began = time.perf_counter()
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    parts = (arm.model, arm.training)
    study.enqueue_trial(
        {name: next(getattr(part, name) for part in parts if hasattr(part, name)) for name in arm.sweep}
    )
    study.optimize(objective, n_trials=trials)
    return {"trials": len(study.trials), "best": study.best_value, "seconds": time.perf_counter() - began}


def main() -> None:
    """Search both families, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=15, help="of each arm")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("VAE against Glow on digits")
    found = {arm.name: search(arm, options.trials, options.epochs, options.seed) for arm in STUDY.arms}
    print(json.dumps({"backend": keras.backend.backend(), **found}))


if __name__ == "__main__":
    main()
