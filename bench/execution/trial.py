"""One run, a trial or a final run, from its configuration to its measurements."""

from __future__ import annotations

import gc
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import keras
import numpy as np
import pandas as pd

from bench.core.errors import StoppedAtRungError, TrialError
from bench.core.results import TABLES, EvaluationRecord, Measurement
from bench.core.seeds import derive_seed
from bench.core.sequences import Kind
from bench.data.dataset import DatasetInfo, Split, TuningData
from bench.evaluation.cost.energy import EnergyMeter
from bench.evaluation.cost.flops import peak_operations_per_second
from bench.evaluation.cost.memory import peak_device_bytes, peak_host_bytes
from bench.evaluation.evaluator import check_finite, evaluate
from bench.evaluation.image_grid import Picture
from bench.evaluation.likelihood import LogLikelihood, error_of_mean, log_likelihood
from bench.evaluation.metrics import only_finite
from bench.evaluation.programs import EvaluationPrograms, EvaluationProtocol
from bench.evaluation.sample_grids import GRID, shows_samples, trial_pictures, watched_samples
from bench.evaluation.sampling import Sampler
from bench.evaluation.throughput import conditions, speed
from bench.study.config import RunConfig
from bench.study.definition import LEAST_EVALUATIONS
from bench.study.plan import OPTIMISM_SAMPLES
from bench.study.rungs import BUDGET_SHARES, budget_samples
from bench.training.checkpoint import Checkpoint
from bench.training.history import VALIDATION, TrainingLog
from bench.training.kept_state import KeptState, Milestones, best_variables
from bench.training.loop import TrainingPrograms, compile_for_training, train
from models.base.config import Shape
from models.base.likelihood_model import LikelihoodModel
from models.base.size import TRAINING_PASSES
from models.registry import build_model

SHAPES_KEPT = 12
"""Models of different shapes whose programs stay cached, least recently used first out; final runs reuse trials'."""
WEIGHT_BYTES_KEPT = 2**28
"""Largest size of the weights of all cached models, unless a single one exceeds it."""

OnEvaluation = Callable[[EvaluationRecord], None]
OnProgress = Callable[[int, int], None]
OnRescue = Callable[[str], None]


def say_nothing(line: str) -> None:
    """An :data:`OnRescue` of trainings whose rescues are logged alone."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run: model, learning curve, measurements, tables and pictures.

    ``unavailable`` gives the reason for each metric that could not be measured.
    """

    model: LikelihoodModel
    log: TrainingLog
    measurements: list[Measurement]
    pictures: list[Picture]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)


def validation_bits_per_dim(outcome: Outcome) -> float:
    """The number that selection minimises."""
    return next(m.value for m in outcome.measurements if m.key == "validation/bits_per_dim")


def run_trial(
    config: RunConfig,
    data: TuningData,
    seed: int,
    importance_samples: int,
    on_evaluation: OnEvaluation,
    checkpoint: Checkpoint | None = None,
    on_rescue: OnRescue = say_nothing,
    until: int | None = None,
) -> Outcome:
    """Train one configuration and evaluate it on validation.

    Args:
        config: the configuration to train.
        data: training and validation images; the test split cannot be reached from here.
        seed: the run's seed, from which all of its randomness derives.
        importance_samples: k of the validation bound.
        on_evaluation: receives each point of the learning curve; an error that it raises ends the run.
        checkpoint: where training saves its state, and resumes from.
        on_rescue: receives a line at each rescue from divergence.
        until: the evaluation after which training stops; by default the last one.

    Raises:
        DivergedError: the loss or the validation bound is not finite.
        StoppedAtRungError: ``until`` was reached before the end; nothing is measured.
        CheckpointError: the state of the training cannot be saved.
    """
    compiled = _compiled_model(config, data, seed)
    log, meter = _train(compiled, config, data, seed, on_evaluation, checkpoint, on_rescue=on_rescue, until=until)
    if until is not None and until <= len(log.records) < config.training.evaluations:
        raise StoppedAtRungError(
            f"stopped at evaluation {len(log.records)} of {config.training.evaluations}: the better half there is "
            "continued"
        )
    model = compiled.model
    validation = _validation(compiled, data, importance_samples)
    check_finite(validation, "validation")
    # A single weight of 0 makes it infinite, and leaves the bound by all of an image's finite.
    optimism = only_finite([selection_optimism(validation, log)])
    measurements = [
        *validation.measurements("validation", data.info.kind),
        *optimism.measurements,
        *_cost(model, config, log, meter),
    ]
    is_image = data.info.kind == "image"
    pictures = trial_pictures(compiled.grid_sampler, data.validation.images, seed) if is_image else []
    return Outcome(model, log, measurements, pictures, unavailable=optimism.unavailable)


def run_final(
    config: RunConfig,
    data: TuningData,
    test: Split,
    seed: int,
    protocol: EvaluationProtocol,
    on_evaluation: OnEvaluation,
    on_progress: OnProgress,
    checkpoint: Checkpoint | None = None,
    on_rescue: OnRescue = say_nothing,
) -> Outcome:
    """Train an already selected configuration from one seed, then measure it on test.

    Args:
        config: the configuration to train.
        data: training and validation images.
        test: test images, only for measuring.
        seed: the run's seed.
        protocol: how to measure.
        on_evaluation: receives each point of the learning curve.
        on_progress: receives (done, total) log-weights of all likelihoods on test.
        checkpoint: where training saves its state, and resumes from.
        on_rescue: receives a line at each rescue from divergence.

    Raises:
        DivergedError: the loss or a bound is not finite.
        CheckpointError: the state of the training cannot be saved.
    """
    compiled = _compiled_model(config, data, seed)
    model, programs = compiled.model, compiled.evaluation
    picture = _samples_while_training(data.info, programs.sampler, config.training.evaluations)
    evaluations, depends = config.training.evaluations, config.training.depends_on_budget
    milestones = Milestones({evaluations} if depends else {max(1, evaluations // share) for share in BUDGET_SHARES})
    log, meter = _train(
        compiled, config, data, seed, on_evaluation, checkpoint, picture, on_rescue, milestones=milestones
    )
    fresh = _validation(compiled, data, OPTIMISM_SAMPLES)
    check_finite(fresh, "validation")
    ends = sorted({*milestones.weights, len(log.records)})
    samples = budget_samples(protocol.importance_samples)
    by_image = 1 + len(ends) if model.is_exact else protocol.importance_samples + samples * len(ends)
    progress = _Progress(on_progress, by_image * len(test))
    found = evaluate(programs, test.images, "test", data.train.images, protocol, seed, progress)
    found += only_finite([selection_optimism(fresh, log)])
    budgets = _test_by_budget(compiled, log, milestones, ends, test, samples, seed, data.info.kind, progress)
    measurements = [*found.measurements, *_cost(model, config, log, meter)]
    if programs.operations is not None:
        measurements.append(_peak_fraction(model, programs.operations, config, log))
    return Outcome(model, log, measurements, found.pictures, {**found.tables, **budgets}, found.unavailable)


class _Progress:
    """The progress of several likelihoods, one after the other, as that of all of them.

    Args:
        on_progress: receives (done, total) log-weights of all.
        total: their log-weights.
    """

    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._before = 0

    def __call__(self, done: int, total: int) -> None:
        self._on_progress(self._before + done, self._total)
        if done == total:
            self._before += total


def _test_by_budget(
    compiled: _CompiledModel,
    log: TrainingLog,
    milestones: Milestones,
    ends: Sequence[int],
    test: Split,
    samples: int,
    seed: int,
    kind: Kind,
    on_progress: OnProgress,
) -> dict[str, pd.DataFrame]:
    """The test bound at each end, which a run of that budget has; the model is left with its best weights."""
    model, rows = compiled.model, []
    best = KeptState(best_variables(model, with_optimizer=False))
    best.capture()
    for evaluation in ends:
        if evaluation != len(log.records):
            milestones.restore(evaluation, model)
        bound = log_likelihood(model, test.images, samples, seed, compiled.evaluation.likelihood_program, on_progress)
        best.restore()
        bits, _ = bound.measurements("test", kind)
        if not math.isfinite(bits.value):
            continue
        images = evaluation * log.images_per_interval
        rows.append((images, evaluation, bits.value, bits.standard_error, bound.kind.importance_samples))
    return {"budgets": pd.DataFrame(rows, columns=TABLES["budgets"])}


def _peak_fraction(model: LikelihoodModel, operations: float, config: RunConfig, log: TrainingLog) -> Measurement:
    training = TRAINING_PASSES * model.training_samples * operations * np.median(log.images_per_second())
    share = float(training / peak_operations_per_second())
    return Measurement("cost", "peak_fraction", share, conditions=conditions(config.training.batch_size))


def _validation(compiled: _CompiledModel, data: TuningData, importance_samples: int) -> LogLikelihood:
    """The validation bound of the best weights, under other noise than that of the evaluations."""
    return log_likelihood(
        compiled.model,
        data.validation.images,
        importance_samples,
        derive_seed("validation"),
        compiled.programs.evaluation,
        samples_at_once=1,
    )


def selection_optimism(validation: LogLikelihood, log: TrainingLog) -> Measurement:
    """How much higher the best weights' one-sample bound is under fresh noise than in the evaluation that chose them.

    Args:
        validation: bound of the best weights under fresh noise; its first row is the one-sample bound.
        log: the log of their training.
    """
    fresh = -validation.bits_per_nat * validation.bounds[0]
    samples = validation.kind.importance_samples
    # Errors of the mean over the fresh samples, and of the single sample of the evaluation.
    error = validation.bits_per_nat * error_of_mean(validation.monte_carlo_errors[0]) * math.sqrt(1 + samples)
    return Measurement(
        "validation",
        "selection_optimism",
        float(fresh.mean()) - log.best.values[VALIDATION],
        n=len(fresh),
        bound=replace(validation.kind, importance_samples=1),
        monte_carlo_error=error if math.isfinite(error) else None,
    )


def train_model(
    config: RunConfig, data: TuningData, seed: int, on_evaluation: OnEvaluation, checkpoint: Checkpoint | None = None
) -> tuple[LikelihoodModel, TrainingLog]:
    """Train the model of a configuration and a seed; the model and its learning curve.

    A later run of the same shape resets and trains the same model: copy it to keep it.

    Raises:
        DivergedError: the loss, or validation, became NaN or infinite.
        CheckpointError: the state of the training cannot be saved.
    """
    compiled = _compiled_model(config, data, seed)
    log, _ = _train(compiled, config, data, seed, on_evaluation, checkpoint)
    return compiled.model, log


class _CompiledModel:
    """The model of one shape with its compiled programs, which successive runs share.

    On small data compiling takes longer than training. Runs that differ only in seed, learning rate and weight decay
    share every program; :meth:`reset` makes each of them independent of the run before.

    Args:
        config: the first run's configuration.
        info: the data.
        seed: the first run's seed.
        evaluated: validation images over all evaluations of a run.
    """

    def __init__(self, config: RunConfig, info: DatasetInfo, seed: int, evaluated: int) -> None:
        # Otherwise layer names and graphs of earlier runs accumulate in the process. Looking through all its memory for
        # what is free takes a quarter of a second, and there is little until models are left out.
        keras.utils.clear_session(free_memory=_has_left_out())
        self.info = info
        self.model = self._build(config, seed)
        self._built_for: tuple[RunConfig, int] | None = (config, seed)
        self.programs = TrainingPrograms(self.model, evaluated)
        self.grid_sampler = Sampler(self.model, GRID, use="seldom")

    @cached_property
    def evaluation(self) -> EvaluationPrograms:
        """The programs that measure the model on test, which trials do not need."""
        return EvaluationPrograms(self.model)

    def _build(self, config: RunConfig, seed: int) -> LikelihoodModel:
        # Keras draws the seeds of initialisers from Python's random state. ``keras.utils.set_random_seed`` would make
        # TensorFlow retrace every program, which takes seconds.
        random.seed(derive_seed(seed, "weights and noise"))
        model = build_model(config.model, self.info.image_shape, self.info.grey_levels)
        compile_for_training(model, config.training)
        return model

    def reset(self, config: RunConfig, seed: int) -> None:
        """Set weights, random state and optimizer to those of a new model with this seed."""
        built_for, self._built_for = self._built_for, None
        if built_for == (config, seed):
            return
        fresh = self._build(config, seed)
        self.model.seed_generator.state.assign(fresh.seed_generator.state)
        for now, new in (
            (self.model.weights, fresh.weights),
            (self.model.optimizer.variables, fresh.optimizer.variables),
        ):
            for variable, value in zip(now, new, strict=True):
                variable.assign(value)


_kept: OrderedDict[tuple[RunConfig, Shape, int, int], _CompiledModel] = OrderedDict()
"""By shape, the most recently used last."""


def _compiled_model(config: RunConfig, data: TuningData, seed: int) -> _CompiledModel:
    """The cached model of this shape, or a new one."""
    # Variables of the optimizer, which are not compiled into any program.
    variables = {"learning_rate": 1.0, "weight_decay": float(config.training.weight_decay > 0)}
    info, evaluated = data.info, LEAST_EVALUATIONS * len(data.validation)
    # Nor is what is decided between evaluations, nor their number: final runs may train longer than trials.
    training = config.with_values(variables).training.model_copy(update={"patience": 1, "rescues": 0})
    if not training.depends_on_budget:
        training = training.lasting(1)
    shaped = config.model_copy(update={"training": training})
    shape = (shaped, info.image_shape, info.grey_levels, evaluated)
    if shape not in _kept:
        _kept[shape] = _CompiledModel(config, info, seed, evaluated)
    _kept.move_to_end(shape)
    while len(_kept) > SHAPES_KEPT or (len(_kept) > 1 and _weight_bytes() > WEIGHT_BYTES_KEPT):
        _kept.popitem(last=False)
    return _kept[shape]


def _has_left_out() -> bool:
    """Whether models may have been left out: as many are kept as can be, or large ones."""
    return len(_kept) >= SHAPES_KEPT or _weight_bytes() > WEIGHT_BYTES_KEPT / 2


def _forget(compiled: _CompiledModel) -> None:
    for shape in [shape for shape, kept in _kept.items() if kept is compiled]:
        del _kept[shape]


def forget_models() -> None:
    """Free all models and, on JAX, the programs that were compiled for them; later runs compile again what they need.

    TensorFlow never frees a program.
    """
    _kept.clear()
    keras.utils.clear_session()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
    gc.collect()


def _weight_bytes() -> int:
    return sum(4 * each.model.count_params() for each in _kept.values())


def _train(
    compiled: _CompiledModel,
    config: RunConfig,
    data: TuningData,
    seed: int,
    on_evaluation: OnEvaluation,
    checkpoint: Checkpoint | None,
    picture: Callable[[int], bytes | None] = lambda evaluation: None,
    on_rescue: OnRescue = say_nothing,
    until: int | None = None,
    milestones: Milestones | None = None,
) -> tuple[TrainingLog, EnergyMeter]:
    compiled.reset(config, seed)
    meter = EnergyMeter()

    def on_each(record: EvaluationRecord) -> None:
        meter.read()
        on_evaluation(record)

    try:
        with meter:
            log = train(
                compiled.model,
                data,
                config.training,
                seed,
                on_each,
                checkpoint,
                picture,
                compiled.programs,
                on_rescue,
                until,
                milestones,
            )
    except TrialError:
        # Pruned or diverged between two calls of a program: the next run resets the model.
        raise
    except BaseException:
        # A program that failed may have donated the model's arrays to the device, which makes them unusable.
        _forget(compiled)
        raise
    return log, meter


def _samples_while_training(info: DatasetInfo, sampler: Sampler, last: int) -> Callable[[int], bytes | None]:
    """A function that draws samples at some evaluations, of images alone: text and sound are read and heard at the end.

    Only for final runs, which compile the sampling program anyway.
    """

    def draw(evaluation: int) -> bytes | None:
        shown = info.kind == "image" and shows_samples(evaluation, last)
        return watched_samples(sampler) if shown else None

    return draw


def _cost(model: LikelihoodModel, config: RunConfig, log: TrainingLog, meter: EnergyMeter) -> list[Measurement]:
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    device_bytes, clipped = peak_device_bytes(), log.clipped_share
    return [
        speed("train_images_per_second", log.images_per_second(), config.training.batch_size),
        Measurement("cost", "parameters", parameters),
        Measurement("cost", "training_seconds", log.seconds),
        Measurement("cost", "best_images", log.best.images),
        *([] if clipped is None else [Measurement("cost", "clipped_share", clipped)]),
        *([Measurement("cost", "rescues", log.rescues)] if config.training.rescues else []),
        Measurement("cost", "first_interval_seconds", log.interval_seconds[0]),
        Measurement("cost", "training_compile_seconds", log.compile_seconds),
        Measurement("cost", "peak_memory_bytes", peak_host_bytes()),
        *([] if device_bytes is None else [Measurement("cost", "peak_device_memory_bytes", device_bytes)]),
        *(
            []
            # The meter covers only this process.
            if meter.joules is None or log.was_continued
            else [Measurement("cost", "training_joules", meter.joules, conditions=meter.source)]
        ),
    ]
