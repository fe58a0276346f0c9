"""A study: its question, its arms, and the settings that a user may change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from bench.core.digests import json_digest
from bench.core.errors import SettingsError
from bench.core.results import EQUIVALENCE, Equivalence
from bench.core.validation import format_validation_error, validate_settings
from bench.data.dataset import DatasetInfo
from bench.data.preparation import (
    LEAST_RATE,
    MOST_RATE,
    PREPARATION,
    Preparation,
    SoundEncoding,
    TextUnit,
    parse_size,
)
from bench.runtime.backend import BACKENDS
from bench.study.config import RECIPE, RunConfig, TrainingConfig, setting_name
from bench.study.duration import parse_duration
from bench.study.promotion import Promotion
from bench.study.rungs import attempts, rungs
from bench.study.search_space import Choices, Parameter, Space, check_conditions, choose_values, encode, to_json
from models.base.config import ModelConfig

Images = Annotated[int, Field(ge=1, le=10**12)]
Samples = Annotated[int, Field(ge=1, le=10**6)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[Amount, BeforeValidator(parse_duration)]
LARGEST_SEED = 2**63 - 1
"""Tables of results hold seeds as 64-bit integers."""


EVALUATIONS = "evaluations"
COST_BUDGETS = ("seconds", "operations", "joules")
"""Budgets of a run that each arm turns into training images, by its measured speed or by its size."""
BUDGETS = ("epochs", "images", *COST_BUDGETS, "time")
"""The settings of which one sets the budget."""
SAMPLERS = ("tpe", "qmc", "random")
HALVING = "halving"
PRUNERS = (HALVING, "none")


def _check_name(name: str, own: tuple[str, ...], kind: str, example: str) -> str:
    # `bench.search` checks that Optuna has it, where it is no user's own: this module does not import Optuna.
    if name not in own and not re.fullmatch(r"_*[A-Z]\w*", name):
        raise ValueError(f"one of {', '.join(own)}, or the name of a {kind.lower()} of Optuna's, such as {example}")
    return name


def _check_sampler(name: str) -> str:
    return _check_name(name, SAMPLERS, "Sampler", "BruteForceSampler")


def _check_pruner(name: str) -> str:
    return _check_name(name, PRUNERS, "Pruner", "HyperbandPruner")


def _check_promotion(text: str) -> str:
    return str(Promotion.parse(text))


@checked_dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class Arm:
    """One side of a comparison: a model, its swept parameters, and its training.

    Raises:
        pydantic.ValidationError: an attribute has the wrong type, or the sweep does not fit the configurations.

    Attributes:
        model: the model's configuration; its own values are the first trial.
        sweep: the swept parameters of the model or its training by name, ``model.NAME`` or ``training.NAME`` if both
            have a setting of that name. Conditions (``when``) refer to earlier parameters.
        training: optimizer, schedule and batch size; the study's settings override its budget, the evaluations that
            it does not set, and the batch size if they set one.
        name: letters, digits, ``_`` and ``-``; by default the model's family.
    """

    model: Annotated[ModelConfig, SkipValidation]
    sweep: Space = field(default_factory=dict)
    training: TrainingConfig = RECIPE
    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63})?$")] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelConfig):
            raise ValueError(f"model={self.model!r} is not the configuration of a model, such as VAEConfig()")
        object.__setattr__(self, "name", self.name or self.model.family)
        if self.name == FINALS:
            raise ValueError(f"an arm cannot be called {FINALS!r}, the name of the final runs")
        named = [(setting_name(type(self.model), name), each) for name, each in self.sweep.items()]
        if twice := next((name for name, _ in named if [other for other, _ in named].count(name) > 1), None):
            raise SettingsError(f"{twice} is swept twice by {self.name}, under two names")
        sweep = {name: self._with_named_condition(parameter) for name, parameter in named}
        if EVALUATIONS in sweep:
            raise SettingsError(f"{self.name} cannot sweep evaluations, by which its trials are compared")
        check_conditions(sweep)
        object.__setattr__(self, "sweep", sweep)

    def _with_named_condition(self, parameter: Parameter) -> Parameter:
        when = parameter.when
        if when is None:
            return parameter
        return replace(parameter, when={setting_name(type(self.model), name): when[name] for name in when})

    @property
    def family(self) -> str:
        """The family of the model, such as ``vae`` or ``glow``."""
        return self.model.family


@checked_dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class Study:
    """A question, and the arms whose comparison answers it.

    Raises:
        pydantic.ValidationError: an attribute has the wrong type or form.

    Attributes:
        name: short name, which names folders too: letters, digits, ``_`` and ``-``.
        question: the question, one sentence.
        arms: the compared arms, with different names.
        sampler: the default sampler: ``tpe`` samples near good trials and finds the best soonest, ``qmc`` covers the
            space evenly, which shows the response curve best, ``random``; or the name of a sampler of Optuna's, such as
            ``BruteForceSampler``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    question: str
    arms: tuple[Arm, ...]
    sampler: Annotated[str, AfterValidator(_check_sampler)] = "tpe"

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


def _canonical_size(size: object) -> str:
    return "x".join(map(str, parse_size(size)))


FINALS = "final"
"""The name of the queue of final runs, which no arm may have."""
AUTO = "auto"
"""The setting for the backend that :func:`bench.execution.backend_choice.choose_backend` chooses."""
ENGINE = ("engine", "address", "cpus_per_trial", "gpus_per_trial")
"""Settings of the executor, which do not change results."""


class Earlier(NamedTuple):
    """The budget of a run that a study has had already, and that a later command extends.

    Attributes:
        interval: training images between two evaluations.
        evaluations: their number.
    """

    interval: int
    evaluations: int


class StudySettings(BaseModel):
    """The settings of any study. The attributes are the command line's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    grey_levels: Annotated[int, Field(ge=2, le=65536)] | None = None
    resize: Annotated[str, BeforeValidator(_canonical_size)] | None = None
    grey: bool = False
    train_images: Annotated[int, Field(ge=2)] | None = None
    window: Annotated[int, Field(ge=1, le=2**20)] | None = None
    text_unit: TextUnit | None = None
    sample_rate: Annotated[int, Field(ge=LEAST_RATE, le=MOST_RATE)] | None = None
    sound_encoding: SoundEncoding | None = None
    speakers: bool = False
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    epochs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    images: Images | None = None
    seconds: Duration | None = None
    operations: Amount | None = None
    joules: Amount | None = None
    time: Duration | None = None
    timeout: Amount | None = None
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    batch_size: Annotated[int, Field(ge=1, le=10**6)] | None = None
    selection_samples: Samples = 16
    importance_samples: Samples = 256
    evaluation_images: Annotated[int, Field(ge=2, le=10**9)] | None = None
    extractor: Literal["classifier", "inception_v3"] = "classifier"
    outside_dataset: str | None = None
    sampler: Annotated[str, AfterValidator(_check_sampler)] | None = None
    pruner: Annotated[str, AfterValidator(_check_pruner)] = HALVING
    promote: tuple[Annotated[str, AfterValidator(_check_promotion)], ...] = ()
    backend: str = "tensorflow"
    storage: str | None = None
    tracking_uri: str | None = None
    output: Path = Path("runs")
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0, le=1024)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0, le=1024)] = 0.0
    lease: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    reference_model: bool = True
    equivalence: Equivalence = EQUIVALENCE
    mixed_code: bool = False
    smoke: bool = False

    @model_validator(mode="after")
    def _one_budget(self) -> StudySettings:
        values = {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}
        given = [f"{name}={value if isinstance(value, int) else f'{value:g}'}" for name, value in values.items()]
        if len(given) > 1:
            raise ValueError(
                f"give {' or '.join(given)}, not {'both' if len(given) == 2 else 'all'}: each sets the budget"
            )
        if self.time is not None and self.timeout is not None:
            raise ValueError(
                f"give time={self.time:g}, by which the whole study ends, or timeout={self.timeout:g}, by which the "
                "search does"
            )
        if self.time is not None and not self.is_single_process:
            raise ValueError(
                f"time={self.time:g} is kept by a single process, and workers={self.workers}, engine={self.engine!r} "
                "start others: leave them out, or give the budget of a run"
            )
        if self.backend not in (*BACKENDS, AUTO):
            raise ValueError(f"backend={self.backend!r} is unknown: one of {', '.join((*BACKENDS, AUTO))}")
        if self.engine == "ray" and self.workers == 0:
            raise ValueError(
                "workers=0 leaves the work to other processes, and engine='ray' to Ray tasks: give one of them"
            )
        if self.engine == "local" and self.address is not None:
            raise ValueError(f"address={self.address!r} is that of a Ray cluster: give engine='ray' with it")
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial={self.gpus_per_trial}: a fraction of one, or a whole number")
        for name in ("cpus_per_trial", "gpus_per_trial") if self.engine == "local" else ():
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise ValueError(f"{name}={value:g} is what Ray reserves for a trial: give engine='ray' with it")
        if self.promote and self.pruner != HALVING:
            raise ValueError(
                f"promote={', '.join(self.promote)}: with pruner={self.pruner!r} no trial is stopped at a rung, from "
                f"which it could be continued; pruner={HALVING!r} does that"
            )
        return self

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Self:
        """Validate option values.

        Raises:
            SettingsError: a value is out of range; the message says the option, the value and what is accepted.
        """
        settings = validate_settings(cls, values)
        return settings._shrink() if settings.smoke else settings

    def _shrink(self) -> Self:
        """The settings of a smoke run, which does every step as quickly as possible."""
        small = {
            **dict.fromkeys(BUDGETS),
            "trials": min(self.trials, 2),
            "images": min(self.images or 512, 512),
            "seeds": min(self.seeds, 2),
            "selection_samples": min(self.selection_samples, 2),
            "importance_samples": min(self.importance_samples, 4),
            "evaluation_images": min(self.evaluation_images or 128, 128),
        }
        return self.model_copy(update=small)

    @property
    def promotions(self) -> list[Promotion]:
        """The trials to be trained to the whole budget, each once."""
        return list(dict.fromkeys(map(Promotion.parse, self.promote)))

    @property
    def is_single_process(self) -> bool:
        """Whether a single process runs the whole study."""
        return self.engine == "local" and self.workers in (None, 1)

    @property
    def preparation(self) -> Preparation:
        """How data is read."""
        return Preparation.from_settings(self.model_dump(include=set(PREPARATION)))

    @property
    def storage_url(self) -> str:
        """Optuna's storage of the search."""
        return self.storage or str(self.output.resolve() / "optuna.journal")

    @property
    def tracking(self) -> str:
        """MLflow's tracking URI."""
        return self.tracking_uri or f"sqlite:///{self.output.resolve() / 'mlflow.db'}"

    def training(
        self,
        base: TrainingConfig,
        train_images: int,
        earlier: Earlier | None = None,
        budget: int | None = None,
        chosen_from: int | None = None,
    ) -> TrainingConfig:
        """``base`` with the settings' batch size, if any, and the budget of a run.

        The budget is ``budget``, else ``images``, else ``epochs``, else ``base.images`` if it is set, else a default
        that grows with the data: with all of it, so that where some of its images are trained on, as many are seen as
        with all. Unless ``base.evaluations`` is set, there is one evaluation per epoch, at least ten and at most four
        hundred.

        Args:
            base: the training of an arm.
            train_images: the number of training images.
            earlier: the budget that the study has had already; it does not become smaller.
            budget: training images, where they follow from another budget, such as the time of the study.
            chosen_from: the number of images of which they are a choice; None where they are all.
        """
        explicit = base.model_fields_set
        if budget or self.images or self.epochs:
            images = budget or self.images or (self.epochs or 0) * train_images
        else:
            images = base.images if "images" in explicit else default_images(chosen_from or train_images)
        batch_size = self.batch_size or base.batch_size
        wanted = base.evaluations
        if "evaluations" not in explicit:
            wanted = min(max(round(images / train_images), LEAST_EVALUATIONS), MOST_EVALUATIONS)
        most = max(1, images // batch_size)
        evaluations = min(most, 2 if self.smoke else wanted)
        if not base.depends_on_budget:
            # Whole intervals of whole images: a run of a larger budget begins with the evaluations of this one.
            interval = earlier.interval if earlier else max(1, images // evaluations)
            if earlier:
                # The budget of before, in as many evaluations, may leave a rest of more than an interval.
                is_same = interval == max(1, images // evaluations)
                evaluations = max(1, evaluations if is_same else images // interval, earlier.evaluations)
            images = evaluations * interval
        changes = {"batch_size": batch_size, "images": images, "evaluations": evaluations}
        return TrainingConfig.model_validate({**base.model_dump(), **changes})


STORAGE_LAYOUT = 5
"""Version of a study's storage. Studies written by another version are not resumed."""
LEAST_EVALUATIONS = 10
MOST_EVALUATIONS = 400
MOST_EVALUATIONS_EXTENDED = 4000
"""Of a run whose study was extended, or has a time."""
DEFAULT_EPOCHS = 60
"""Default budget on small data, by which both families are near their best on the digits."""
DEFAULT_IMAGES = 100_000
"""The default budget has at most this many images ..."""
LEAST_EPOCHS = 10
"""... but at least this many epochs: it grows with the data."""
CONVERGENT_EPOCHS = 100
"""Budget by which both families had converged on the digits; larger data may need more images, not epochs."""


def default_images(train_images: int) -> int:
    """The default training budget in images for data of this size."""
    return max(LEAST_EPOCHS * train_images, min(DEFAULT_EPOCHS * train_images, DEFAULT_IMAGES))


@dataclass(frozen=True)
class BoundStudy:
    """A study with its settings and its data, which together determine its trials.

    Raises:
        SettingsError: an arm cannot model the data's images, its sweep does not fit its configuration, or two arms have
            the same name.
    """

    study: Study
    settings: StudySettings
    info: DatasetInfo
    digest: str
    labels: str = ""
    """:attr:`bench.data.dataset.Dataset.labels_digest`: sample quality and conditional models depend on labels."""
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    """The budget that each arm has had already, of which the schedule does not depend on the budget."""
    images: Mapping[str, int] = field(default_factory=dict)
    """Training images of a trial by arm, and of the reference model, where they follow from another budget."""
    held_out: str = ""
    """:attr:`bench.data.dataset.Dataset.held_out_digest`: the same for any number of training images."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.study.arms]
        if not names:
            raise SettingsError(f"{self.study.name} has no arms: it needs one or more")
        # Reports write the family "vae" as VAE, and some file systems and databases take VAE and vae for the same.
        folded = [name.casefold() for name in names]
        alike = [name for name in names if folded.count(name.casefold()) > 1][:2]
        if alike:
            called = " and ".join(map(repr, dict.fromkeys(alike)))
            raise SettingsError(f"two arms of {self.study.name} are called {called}: give each a name, Arm(…, name=…)")
        for arm in self.study.arms:
            if self.settings.batch_size is not None and {"batch_size", "training.batch_size"} & arm.sweep.keys():
                raise SettingsError(
                    f"batch_size={self.settings.batch_size}: {arm.name} sweeps batch_size, and would have it in its "
                    "first trial alone: leave one of the two out"
                )
            for values in _probes(arm.sweep):
                try:
                    self.configure(arm, values)
                except ValidationError as error:
                    raise self._refuse(arm, format_validation_error(error)) from error
                except (ValueError, SettingsError) as error:
                    raise self._refuse(arm, str(error.args[0])) from error
            for name, value in self.first_values(arm).items():
                if value not in arm.sweep[name]:
                    raise SettingsError(
                        f"{arm.name}: {name}={value!r} of its own configuration, the first trial, lies outside "
                        f"its sweep {arm.sweep[name]}: change one of the two"
                    )

    def _refuse(self, arm: Arm, reason: str) -> SettingsError:
        return SettingsError(f"{arm.name} cannot be trained on {self.info.name}: {reason}")

    @property
    def runs(self) -> int:
        """Runs of the searches, some of which continue others, and final runs, in all."""
        return sum(sum(number for number, _ in self.search(arm)) + self.settings.seeds for arm in self.study.arms)

    def search(self, arm: Arm, evaluations: int | None = None) -> list[tuple[int, float]]:
        """The runs of an arm's search: how many train how large a share of the budget; none if it sweeps nothing.

        Args:
            arm: the arm.
            evaluations: those of the budget; by default the study's.
        """
        if not arm.sweep:
            return []
        evaluations = evaluations or self.base(arm).training.evaluations
        if self.settings.pruner != HALVING:
            return [(self.settings.trials, 1.0)]
        found = [(number, n / evaluations) for number, n in attempts(self.settings.trials, rungs(evaluations))]
        # In a given time, no trial is continued alone.
        return found if self.settings.time is None else found[:1] + [each for each in found[1:] if each[0] > 1]

    @property
    def sampler(self) -> str:
        """The sampler that proposes trials."""
        return self.settings.sampler or self.study.sampler

    def base(self, arm: Arm) -> RunConfig:
        """The arm's configuration before any swept value."""
        info = self.info
        training = self.settings.training(
            arm.training,
            info.sizes["train"],
            self.earlier.get(arm.name),
            self.images.get(arm.name),
            info.chosen_from,
        )
        return RunConfig.model_validate(
            {
                "model": arm.model.model_dump(),
                "training": training,
                "dataset_digest": self.digest,
                "backend": self.settings.backend,
            }
        )

    def configure(self, arm: Arm, values: Mapping[str, Any]) -> RunConfig:
        """The arm's configuration with swept ``values``."""
        config = self.base(arm).with_values(values)
        config.model.check_images(self.info.image_shape, self.info.grey_levels)
        # Of a family of the user's own, too.
        classes = getattr(config.model, "classes", 0)
        if classes not in (0, self.info.classes):
            raise SettingsError(f"classes={classes}, and the data has {self.info.classes or 'no labels'}")
        return config

    def first_values(self, arm: Arm) -> dict[str, Any]:
        """The values of the swept parameters in the arm's own configuration, which are the first trial."""
        parameters, images = self.base(arm).parameters(), arm.training.images
        if "images" in arm.sweep and images in arm.sweep["images"]:
            # The budget of a study is one of whole intervals, and a swept number is trained on as it stands.
            parameters["images"] = images
        return choose_values(arm.sweep, lambda name, parameter: encode(parameters[name]))

    @property
    def study_id(self) -> str:
        """Name, data set, and a hash of all that determines the trials, except their number and their budget.

        The same command continues its study, also with more trials or a larger budget; a setting that changes the
        steps of the trials makes another study, and so does the budget of an arm whose schedule depends on it.
        """
        settings = self.settings
        determining = {
            "layout": STORAGE_LAYOUT,
            "arms": {arm.name: self._arm_identity(arm) for arm in self.study.arms},
            "sampler": self.sampler,
            **({"labels": self.labels} if self.labels else {}),
            **({"smoke": True} if settings.smoke else {}),
            **settings.model_dump(
                mode="json",
                include={
                    "seed",
                    "selection_samples",
                    "importance_samples",
                    "evaluation_images",
                    "extractor",
                    "outside_dataset",
                    "pruner",
                },
            ),
        }
        fingerprint = json_digest(determining)[:8]
        return f"{self.study.name}-{self.info.name}-{fingerprint}"

    def _arm_identity(self, arm: Arm) -> dict[str, Any]:
        base = self.base(arm)
        identities = {"model": base.model.identity, "training": self._training_identity(arm)}
        return {"base": {**base.model_dump(mode="json"), **identities}, "sweep": to_json(arm.sweep)}

    def _training_identity(self, arm: Arm) -> dict[str, Any]:
        training = self.base(arm).training
        if self.depends_on_budget(arm):
            return training.model_dump(mode="json")
        # Evaluations are those of the first budget, unless the arm says how many that has.
        explicit = "evaluations" in arm.training.model_fields_set
        identity = {**training.identity, "evaluations": arm.training.evaluations if explicit else None}
        del identity["steps_per_evaluation"]
        return identity

    def depends_on_budget(self, arm: Arm) -> bool:
        """Whether any schedule of the arm's depends on the budget, which is then part of the study's identity."""
        if "images" in arm.sweep:
            return True
        swept = arm.sweep.get(setting_name(type(arm.model), "training.decay"))
        training = self.base(arm).training
        decays = [training.decay, *(swept.values if isinstance(swept, Choices) else ())]
        return any(training.model_copy(update={"decay": decay}).depends_on_budget for decay in decays)


def _probes(sweep: Space) -> Iterator[dict[str, Any]]:
    """Values for which a configuration is checked: the first probes of all parameters, then the second, and so on."""
    for i in range(max((len(parameter.probes) for parameter in sweep.values()), default=1)):

        def probe(name: str, parameter: Parameter, i: int = i) -> Any:
            return parameter.probes[min(i, len(parameter.probes) - 1)]

        yield choose_values(sweep, probe)
