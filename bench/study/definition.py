"""What a study is: the question it asks, what it sweeps, and the settings that a user may change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from bench.core.errors import SettingsError
from bench.core.validated import explained, validated
from bench.data.dataset import DatasetInfo
from bench.runtime.backend import BACKENDS
from bench.study.config import RECIPE, RunConfig, TrainingConfig
from bench.study.search_space import Space
from models.base.config import ModelConfig

Images = Annotated[int, Field(ge=1, le=10**12)]
Samples = Annotated[int, Field(ge=1, le=10**6)]
LARGEST_SEED = 2**63 - 1
"""Tables of results hold seeds as 64-bit integers."""


@checked_dataclass(frozen=True)
class Family:
    """A model family in a study.

    Raises:
        pydantic.ValidationError: an attribute is of another type.

    Attributes:
        model: the configuration that the swept values are put into; also the first trial.
        sweep: the swept parameters by name, of the model or of its training.
        training: optimizer and schedule; the study's settings overwrite batch size, budget and evaluations.
    """

    model: ModelConfig
    sweep: Space
    training: TrainingConfig = RECIPE

    @property
    def name(self) -> str:
        """The family's name: ``vae`` or ``glow``."""
        return self.model.family


@checked_dataclass(frozen=True)
class Study:
    """A question, and the families that are swept to answer it.

    Raises:
        pydantic.ValidationError: an attribute is of another type or form.

    Attributes:
        name: short name, the script's own: letters, digits, ``_`` and ``-``, for it names folders.
        question: what the study asks, one sentence.
        families: what is swept, family by family.
        sampler: how trials are proposed where the settings do not say: ``tpe`` looks where trials were good and finds
            the best soonest, ``qmc`` covers the space evenly and draws the response curve best.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    question: str
    families: tuple[Family, ...]
    sampler: Literal["tpe", "qmc", "random"] = "tpe"


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
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 64
    selection_samples: Samples = 16
    importance_samples: Samples = 256
    evaluation_images: Annotated[int, Field(ge=2, le=10**9)] | None = None
    extractor: Literal["classifier", "inception_v3"] = "classifier"
    outside_dataset: str | None = None
    sampler: Literal["tpe", "qmc", "random"] | None = None
    pruning: bool = True
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
    def checked(cls, values: Mapping[str, Any]) -> StudySettings:
        """Settings from option values.

        Raises:
            SettingsError: a value is out of range; the message names the option, the value and what is accepted.
        """
        settings = validated(cls, values)
        return settings._smaller() if settings.smoke else settings

    def _smaller(self) -> StudySettings:
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
        """``base`` with batch size and budget: ``images``, else ``epochs`` passes over the training split.

        Validation is evaluated once a pass, at least ten times a run and at most four hundred times: a longer budget
        of the same data then begins with the evaluations of a shorter one.
        """
        images = self.images or (self.epochs * train_images if self.epochs else default_images(train_images))
        most = max(1, images // self.batch_size)
        wanted = 2 if self.smoke else min(max(round(images / train_images), LEAST_EVALUATIONS), MOST_EVALUATIONS)
        looks = min(most, wanted)
        changes = {"batch_size": self.batch_size, "images": images, "evaluations": looks}
        return TrainingConfig.model_validate({**base.model_dump(), **changes})


STORAGE_LAYOUT = 3
"""Version of a study's storage. Studies written by another version are not resumed."""
LEAST_EVALUATIONS = 10
MOST_EVALUATIONS = 400
DEFAULT_PASSES = 60
"""Over small data: both families come near their best on the digits by then."""
DEFAULT_IMAGES = 100_000
"""At most so many where that is ..."""
LEAST_PASSES = 10
"""... no fewer passes than this: the default grows with the data."""
CONVERGENT_PASSES = 100
"""After so many both families had come to their best on the digits; larger data may need more images, not passes."""


def default_images(train_images: int) -> int:
    """The training budget, in images, of data of this size where none is asked for."""
    return max(LEAST_PASSES * train_images, min(DEFAULT_PASSES * train_images, DEFAULT_IMAGES))


@dataclass(frozen=True)
class BoundStudy:
    """A study joined to its settings and its data: all that determines its trials.

    Raises:
        SettingsError: a family cannot take the data's images, or its sweep does not fit its configuration.
    """

    study: Study
    settings: StudySettings
    info: DatasetInfo
    digest: str

    def __post_init__(self) -> None:
        names = [family.name for family in self.study.families]
        if not names or len(set(names)) < len(names):
            raise SettingsError(
                f"{self.study.name} has the families {', '.join(names) or '(none)'}: it needs one or more, each once"
            )
        for family in self.study.families:
            for values in _probes(family.sweep):
                try:
                    self.configure(family, values)
                except (ValidationError, ValueError, KeyError) as error:
                    reason = explained(error) if isinstance(error, ValidationError) else str(error.args[0])
                    raise SettingsError(f"{family.name} cannot be trained on {self.info.name}: {reason}") from error
            for name, value in self.first_values(family).items():
                if value not in family.sweep[name]:
                    raise SettingsError(
                        f"{family.name}: {name}={value!r} of its own configuration, the first trial, lies outside "
                        f"its sweep {family.sweep[name]}: change one of the two"
                    )

    @property
    def sampler(self) -> str:
        """The sampler that proposes trials."""
        return self.settings.sampler or self.study.sampler

    def base(self, family: Family) -> RunConfig:
        """The family's configuration before any swept value."""
        training = self.settings.training(family.training, self.info.sizes["train"])
        return RunConfig.model_validate(
            {
                "model": family.model.model_dump(),
                "training": training,
                "dataset_digest": self.digest,
                "backend": self.settings.backend,
            }
        )

    def configure(self, family: Family, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with swept ``values`` in place."""
        config = self.base(family).with_values(dict(values))
        config.model.check_images(self.info.image_shape, self.info.grey_levels)
        return config

    def first_values(self, family: Family) -> dict[str, Any]:
        """The swept parameters' values in the family's own configuration: the first trial."""
        parameters = self.base(family).parameters()
        return {name: parameters[name] for name in family.sweep}

    @property
    def study_id(self) -> str:
        """Name, data set, and a hash of all that determines the trials but their number.

        The same command finds its study again, with more trials if it asks for more; a changed setting that would
        change the trials makes another study.
        """
        settings = self.settings
        determining = {
            "layout": STORAGE_LAYOUT,
            "families": {
                family.name: {
                    "base": self.base(family).model_dump(mode="json"),
                    "sweep": {name: repr(parameter) for name, parameter in family.sweep.items()},
                }
                for family in self.study.families
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
                    "pruning",
                },
            ),
        }
        fingerprint = hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.study.name}-{self.info.name}-{fingerprint}"


def _probes(sweep: Space) -> Iterator[dict[str, Any]]:
    """Values for which a configuration is checked: every parameter's first together, then their second, and so on."""
    probes = {name: parameter.probes for name, parameter in sweep.items()}
    for i in range(max(map(len, probes.values()), default=1)):
        yield {name: values[min(i, len(values) - 1)] for name, values in probes.items()}
