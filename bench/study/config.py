"""The configuration of a run: model, training and data, frozen and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.core.digests import json_digest
from bench.core.errors import SettingsError
from bench.core.validation import format_validation_error
from bench.study.search_space import decode
from models.base.config import ModelConfig
from models.families import AnyModelConfig

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingConfig(BaseModel):
    """How a model is trained.

    Attributes:
        optimizer: ``adam`` (Kingma & Ba 2015) or ``adamax``.
        learning_rate: reached after the warm-up.
        warmup_steps: steps of linear warm-up from 0.
        decay: ``constant`` after the warm-up; ``plateau``, which restores the best weights and lowers the rate to a
            third after each ``patience`` evaluations without a new best, at most three times; ``cosine`` down to 0 at
            the end of training; or ``staged``, without warm-up: stage i = 0, 1, … 7 takes 3^i parts of the steps at
            10^(-i/7) times the rate (Burda et al. 2016, section 5). The first two do not depend on the budget: a longer
            training begins with the steps of a shorter one.
        clip_norm: largest global norm of the gradient of the loss in bits/dim; 0 for no clipping.
        weight_average: momentum of the exponential moving average of the weights that is evaluated in their place; at
            the steps t = 0, 1, … it is at most t/(9 + t), so that the average begins with the weights after the first
            step and soon forgets them. 0 for none.
        weight_decay: share of each kernel, and of all weights of a flow's coupling networks, that a step at the rate 1
            removes, decoupled from the gradient (Loshchilov & Hutter 2019); 0 for none.
        patience: evaluations without a new best after which training ends (or, with ``plateau``, after which the rate
            is lowered); 0 trains to the end of the budget.
        rescues: how often training that diverged is taken back to its last evaluation, to repeat what follows at a
            third of the learning rate; 0 ends it there.
        batch_size: images per step.
        images: training images to be seen in all; a run sees the nearest number that fills its steps and intervals, or
            fewer where patience ends it.
        evaluations: number of evaluations on validation, evenly spaced over ``images``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adam", "adamax"] = "adam"
    learning_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["constant", "plateau", "cosine", "staged"] = "constant"
    clip_norm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    weight_average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    rescues: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] = 64
    images: Annotated[int, Field(ge=1)] = 10_000
    evaluations: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _staged_has_no_warmup(self) -> TrainingConfig:
        if self.decay == "staged" and self.warmup_steps:
            raise ValueError(
                f"decay=staged begins at its highest rate: it needs warmup_steps=0, got {self.warmup_steps}"
            )
        return self

    @model_validator(mode="after")
    def _plateau_has_patience(self) -> TrainingConfig:
        if self.decay == "plateau" and not self.patience:
            raise ValueError(
                "decay=plateau lowers the rate after patience evaluations without a new best: give patience >= 1"
            )
        return self

    @property
    def depends_on_budget(self) -> bool:
        """Whether the schedule does: a run of a smaller budget is then no beginning of one of a larger budget."""
        return self.decay in ("cosine", "staged")

    @property
    def identity(self) -> dict[str, Any]:
        """What determines every step, as JSON: without the budget, where the schedule does not depend on it."""
        written = self.model_dump(mode="json")
        if self.depends_on_budget:
            return written
        del written["images"], written["evaluations"]
        return {**written, "steps_per_evaluation": self.steps_per_evaluation}

    def lasting(self, evaluations: int) -> TrainingConfig:
        """The same training with another budget, of so many intervals between evaluations."""
        images = round(self.images / self.evaluations * evaluations)
        return self.model_copy(update={"images": images, "evaluations": evaluations})

    @property
    def steps(self) -> int:
        """Optimizer steps in all: of each interval between evaluations the number nearest to its share of images."""
        return self.steps_per_evaluation * self.evaluations

    @property
    def steps_per_evaluation(self) -> int:
        """Optimizer steps between two evaluations on validation."""
        return max(1, round(self.images / self.batch_size / self.evaluations))


RECIPE = TrainingConfig(
    learning_rate=5e-3, warmup_steps=100, decay="plateau", patience=6, weight_average=0.99, weight_decay=0.1
)
"""The training of our studies, which does not depend on the budget; chosen in reports/benchmarks/recipes.md."""


class RunConfig(BaseModel):
    """The configuration of a run, without its seed.

    Attributes:
        model: the model's configuration.
        training: how it is trained.
        dataset_digest: digest of its training data.
        backend: Keras backend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: AnyModelConfig
    training: TrainingConfig
    dataset_digest: str
    backend: str

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """A configuration that was logged.

        Raises:
            SettingsError: its family is not registered in this process, or it was written by another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise SettingsError(format_validation_error(error)) from error

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of a hash of the configuration.

        Runs that differ in their budgets alone have one hash where the schedule does not depend on it: the longer one
        begins with the steps of the shorter one.
        """
        parts = {"model": self.model.identity, "training": self.training.identity}
        return json_digest({**self.model_dump(mode="json"), **parts})[:12]

    @property
    def without_budget(self) -> dict[str, Any]:
        """All that determines how fast it is, as JSON: everything but the budget."""
        written = self.model_dump(mode="json")
        written["training"] = {k: v for k, v in written["training"].items() if k not in ("images", "evaluations")}
        return written

    def parameters(self) -> dict[str, Any]:
        """Model and training settings in one flat mapping, by :func:`setting_name`."""
        parts = {"model": self.model.model_dump(mode="json"), "training": self.training.model_dump(mode="json")}
        return {
            setting_name(type(self.model), f"{part}.{name}"): value
            for part, settings in parts.items()
            for name, value in settings.items()
        }

    def with_values(self, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with swept ``values``.

        Raises:
            SettingsError: a name is unknown, or both the model and its training have it.
            pydantic.ValidationError: a value is out of range.
        """
        parts = {"model": self.model.model_dump(), "training": self.training.model_dump()}
        for name, value in values.items():
            part, setting = _locate(type(self.model), name)
            parts[part][setting] = decode(value)
        return RunConfig.model_validate({**self.model_dump(), **parts})


def setting_name(model: type[ModelConfig], name: str) -> str:
    """The name of a setting, with ``model.`` or ``training.`` before it if both have one of that name.

    Raises:
        SettingsError: the name is unknown, or both the model and its training have it.
    """
    part, setting = _locate(model, name)
    other = TrainingConfig.model_fields if part == "model" else model.model_fields
    return f"{part}.{setting}" if setting in other else setting


def _locate(model: type[ModelConfig], name: str) -> tuple[str, str]:
    """The part of a configuration that has a setting, and the setting's name there."""
    fields = {"model": model.model_fields, "training": TrainingConfig.model_fields}
    part, _, setting = name.rpartition(".")
    if part in fields and setting in fields[part]:
        return part, setting
    found = [part for part, names in fields.items() if name in names]
    if len(found) == 1:
        return found[0], name
    if found:
        raise SettingsError(f"{name!r} is a setting of the model and of its training: model.{name} or training.{name}")
    known = sorted({*fields["model"], *fields["training"]} - {"family"})
    raise SettingsError(f"no setting is called {name!r}: one of {', '.join(known)}")
