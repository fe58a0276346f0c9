"""What a study is: the question it asks, what it sweeps, and the settings that a user may change."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SkipValidation, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from bench.core.errors import SettingsError
from bench.core.validated import explained, validated
from bench.data.dataset import DatasetInfo
from bench.runtime.backend import BACKENDS
from bench.study.config import RECIPE, RunConfig, TrainingConfig, setting_name
from bench.study.search_space import Parameter, Space, check_conditions, chosen, to_json
from models.base.config import ModelConfig

Images = Annotated[int, Field(ge=1, le=10**12)]
Samples = Annotated[int, Field(ge=1, le=10**6)]
LARGEST_SEED = 2**63 - 1
"""Tables of results hold seeds as 64-bit integers."""


SAMPLERS = ("tpe", "qmc", "random")
PRUNERS = ("halving", "none")


def _checked(name: str, own: tuple[str, ...], kind: str, example: str) -> str:
    # Whether Optuna has one of that name, `bench.search` knows.
    if name not in own and not re.fullmatch(rf"[A-Z][A-Za-z]*{kind}", name):
        raise ValueError(f"one of {', '.join(own)}, or the name of a {kind.lower()} of Optuna's, such as {example}")
    return name


def _checked_sampler(name: str) -> str:
    return _checked(name, SAMPLERS, "Sampler", "CmaEsSampler")


def _checked_pruner(name: str) -> str:
    return _checked(name, PRUNERS, "Pruner", "HyperbandPruner")


@checked_dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Arm:
    """What a study compares with its other arms: a model, what is swept of it, and how it is trained.

    Raises:
        pydantic.ValidationError: an attribute is of another type, or the sweep does not fit the configurations.

    Attributes:
        model: the configuration that the swept values are put into; with its own values it is the first trial.
        sweep: the swept parameters by name, of the model or of its training; where both have a setting of that name,
            ``model.NAME`` or ``training.NAME``. Conditions (``when``) refer to parameters before their own.
        training: optimizer, schedule and batch size; the study's settings overwrite budget and evaluations, and the
            batch size where they give one.
        name: the arm's name, its model's family if none is given: letters, digits, ``_`` and ``-``.
    """

    model: Annotated[ModelConfig, SkipValidation]
    sweep: Space = field(default_factory=dict)
    training: TrainingConfig = RECIPE
    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63})?$")] = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelConfig):
            raise ValueError(f"model={self.model!r} is no configuration of a model, such as VAEConfig()")
        object.__setattr__(self, "name", self.name or self.model.family)
        if self.name == FINALS:
            raise ValueError(f"an arm cannot be called {FINALS!r}: the final runs are")
        named = {setting_name(type(self.model), name): parameter for name, parameter in self.sweep.items()}
        check_conditions(named)
        object.__setattr__(self, "sweep", named)

    @property
    def family(self) -> str:
        """The family of its model, such as ``vae`` or ``glow``."""
        return self.model.family


@checked_dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Study:
    """A question, and the arms that are compared to answer it.

    Raises:
        pydantic.ValidationError: an attribute is of another type or form.

    Attributes:
        name: short name, the script's own: letters, digits, ``_`` and ``-``, as it names folders.
        question: what the study asks, one sentence.
        arms: what is compared, each under a name of its own.
        sampler: how trials are proposed where the settings do not say: ``tpe`` looks where trials were good and finds
            the best soonest, ``qmc`` covers the space evenly and draws the response curve best, ``random``; or the name
            of a sampler of Optuna's, such as ``CmaEsSampler``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    question: str
    arms: tuple[Arm, ...]
    sampler: Annotated[str, AfterValidator(_checked_sampler)] = "tpe"

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


FINALS = "final"
"""The name of the final runs of all arms, which no arm may have."""
AUTO = "auto"
"""Stands for the backend that :func:`bench.execution.backend_choice.choose_backend` finds."""
ENGINE = ("engine", "address", "cpus_per_trial", "gpus_per_trial")
"""Settings of who does the work: they change nothing of what comes out."""


class StudySettings(BaseModel):
    """What a user may set of any study. The attributes are the command line's options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "digits"
    grey_levels: Annotated[int, Field(ge=2, le=65536)] | None = None
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    epochs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    images: Images | None = None
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    batch_size: Annotated[int, Field(ge=1, le=10**6)] | None = None
    selection_samples: Samples = 16
    importance_samples: Samples = 256
    evaluation_images: Annotated[int, Field(ge=2, le=10**9)] | None = None
    extractor: Literal["classifier", "inception_v3"] = "classifier"
    outside_dataset: str | None = None
    sampler: Annotated[str, AfterValidator(_checked_sampler)] | None = None
    pruner: Annotated[str, AfterValidator(_checked_pruner)] = "halving"
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
    mixed_code: bool = False
    smoke: bool = False

    @model_validator(mode="after")
    def _one_budget(self) -> StudySettings:
        if self.epochs is not None and self.images is not None:
            raise ValueError(f"give epochs={self.epochs} or images={self.images}, not both: each sets the budget")
        if self.backend not in (*BACKENDS, AUTO):
            raise ValueError(f"backend={self.backend!r} is unknown: one of {', '.join((*BACKENDS, AUTO))}")
        if self.engine == "ray" and self.workers == 0:
            raise ValueError("workers=0 leaves the work to others, and engine='ray' has tasks do it: give one of them")
        if self.engine == "local" and self.address is not None:
            raise ValueError(f"address={self.address!r} is that of a Ray cluster: give engine='ray' with it")
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial={self.gpus_per_trial}: a part of one, or whole ones")
        return self

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Settings from option values.

        Raises:
            SettingsError: a value is out of range; the message names the option, the value and what is accepted.
        """
        settings = validated(cls, values)
        return settings._smaller() if settings.smoke else settings

    def _smaller(self) -> Self:
        """The settings of a run whose only purpose is to go through all the motions."""
        small = {
            "trials": min(self.trials, 2),
            "epochs": None,
            "images": min(self.images or 512, 512),
            "seeds": min(self.seeds, 2),
            "selection_samples": min(self.selection_samples, 2),
            "importance_samples": min(self.importance_samples, 4),
            "evaluation_images": min(self.evaluation_images or 128, 128),
        }
        return self.model_copy(update=small)

    @property
    def is_alone(self) -> bool:
        """Whether one process does it all."""
        return self.engine == "local" and self.workers in (None, 1)

    @property
    def storage_url(self) -> str:
        """Where Optuna keeps the search."""
        return self.storage or str(self.output.resolve() / "optuna.journal")

    @property
    def tracking(self) -> str:
        """Where MLflow keeps the runs."""
        return self.tracking_uri or f"sqlite:///{self.output.resolve() / 'mlflow.db'}"

    def training(self, base: TrainingConfig, train_images: int) -> TrainingConfig:
        """``base`` with the batch size, if one is set, and the budget of a run.

        The budget is ``images``, else ``epochs`` passes over the training split, else what ``base`` itself asks for,
        else a default that grows with the data. Unless ``base`` asks for a number of evaluations, there is one a pass,
        ten a run at least and four hundred at most: a longer budget of the same data then begins with the evaluations
        of a shorter one.
        """
        asked = base.model_fields_set
        if self.images or self.epochs:
            images = self.images or (self.epochs or 0) * train_images
        else:
            images = base.images if "images" in asked else default_images(train_images)
        batch_size = self.batch_size or base.batch_size
        wanted = base.evaluations
        if "evaluations" not in asked:
            wanted = min(max(round(images / train_images), LEAST_EVALUATIONS), MOST_EVALUATIONS)
        most = max(1, images // batch_size)
        evaluations = min(most, 2 if self.smoke else wanted)
        changes = {"batch_size": batch_size, "images": images, "evaluations": evaluations}
        return TrainingConfig.model_validate({**base.model_dump(), **changes})


STORAGE_LAYOUT = 4
"""Version of a study's storage. Studies written by another version are not resumed."""
LEAST_EVALUATIONS = 10
MOST_EVALUATIONS = 400
DEFAULT_PASSES = 60
"""Over small data: both arms come near their best on the digits by then."""
DEFAULT_IMAGES = 100_000
"""At most so many where that is ..."""
LEAST_PASSES = 10
"""... no fewer passes than this: the default grows with the data."""
CONVERGENT_PASSES = 100
"""After so many both arms had come to their best on the digits; larger data may need more images, not passes."""


def default_images(train_images: int) -> int:
    """The training budget, in images, of data of this size where none is asked for."""
    return max(LEAST_PASSES * train_images, min(DEFAULT_PASSES * train_images, DEFAULT_IMAGES))


@dataclass(frozen=True)
class BoundStudy:
    """A study joined to its settings and its data: all that determines its trials.

    Raises:
        SettingsError: an arm cannot take the data's images, its sweep does not fit its configuration, or two arms have
            one name.
    """

    study: Study
    settings: StudySettings
    info: DatasetInfo
    digest: str

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.study.arms]
        if not names:
            raise SettingsError(f"{self.study.name} has no arms: it needs one or more")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SettingsError(f"two arms of {self.study.name} are called {twice!r}: give each a name, Arm(…, name=…)")
        for arm in self.study.arms:
            for values in _probes(arm.sweep):
                try:
                    self.configure(arm, values)
                except (ValidationError, ValueError, SettingsError) as error:
                    reason = explained(error) if isinstance(error, ValidationError) else str(error.args[0])
                    raise SettingsError(f"{arm.name} cannot be trained on {self.info.name}: {reason}") from error
            for name, value in self.first_values(arm).items():
                if value not in arm.sweep[name]:
                    raise SettingsError(
                        f"{arm.name}: {name}={value!r} of its own configuration, the first trial, lies outside "
                        f"its sweep {arm.sweep[name]}: change one of the two"
                    )

    @property
    def runs(self) -> int:
        """Trials and final runs in all; an arm of which nothing is swept needs no trials."""
        return sum((self.settings.trials if arm.sweep else 0) + self.settings.seeds for arm in self.study.arms)

    @property
    def sampler(self) -> str:
        """The sampler that proposes trials."""
        return self.settings.sampler or self.study.sampler

    def base(self, arm: Arm) -> RunConfig:
        """The arm's configuration before any swept value."""
        training = self.settings.training(arm.training, self.info.sizes["train"])
        return RunConfig.model_validate(
            {
                "model": arm.model.model_dump(),
                "training": training,
                "dataset_digest": self.digest,
                "backend": self.settings.backend,
            }
        )

    def configure(self, arm: Arm, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with swept ``values`` in place."""
        config = self.base(arm).with_values(values)
        config.model.check_images(self.info.image_shape, self.info.grey_levels)
        return config

    def first_values(self, arm: Arm) -> dict[str, Any]:
        """The swept parameters' values in the arm's own configuration: the first trial."""
        parameters = self.base(arm).parameters()
        return chosen(arm.sweep, lambda name, parameter: parameters[name])

    @property
    def study_id(self) -> str:
        """Name, data set, and a hash of all that determines the trials but their number.

        The same command finds its study again, with more trials if it asks for more; a changed setting that would
        change the trials makes another study.
        """
        settings = self.settings
        determining = {
            "layout": STORAGE_LAYOUT,
            "arms": {
                arm.name: {"base": self.base(arm).model_dump(mode="json"), "sweep": to_json(arm.sweep)}
                for arm in self.study.arms
            },
            "sampler": self.sampler,
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
        fingerprint = hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.study.name}-{self.info.name}-{fingerprint}"


def _probes(sweep: Space) -> Iterator[dict[str, Any]]:
    """Values for which a configuration is checked: every parameter's first together, then their second, and so on."""
    for i in range(max((len(parameter.probes) for parameter in sweep.values()), default=1)):

        def probe(name: str, parameter: Parameter, i: int = i) -> Any:
            return parameter.probes[min(i, len(parameter.probes) - 1)]

        yield chosen(sweep, probe)
