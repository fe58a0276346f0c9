"""What a run logs, as lines of its outbox: each says by itself all that it takes to upload it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Line(BaseModel):
    # A diverged run logs NaN, which JSON itself does not know.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Creation(_Line):
    """The run itself: always the first line.

    Attributes:
        store: the tracking URI without its credentials: a run is only uploaded to where it was meant to go.
        experiment_id: MLflow's identifier of the experiment.
        name: the run's name.
        at: when it began, in milliseconds since 1970.
        tags: tags at its creation, with the run's key.
        parameters: parameters.
        dataset: its input: name, digest, source and profile, as MLflow takes them.
        context: what the data set is used for.
        note_if_lost: its description, if its process should end before it does.
    """

    kind: Literal["creation"] = "creation"
    store: str
    experiment_id: str
    name: str
    at: int
    tags: dict[str, str]
    parameters: dict[str, str]
    dataset: dict[str, str]
    context: str
    note_if_lost: str


class Values(_Line):
    """Metrics at one step, and tags.

    Attributes:
        at: when they were logged, in milliseconds since 1970: sent again, they are the same points.
        step: their step.
        metrics: values by key.
        of_model: keys of those that were measured of the run's logged model.
        tags: tags.
    """

    kind: Literal["values"] = "values"
    at: int
    step: int = 0
    metrics: dict[str, float] = {}
    of_model: tuple[str, ...] = ()
    tags: dict[str, str] = {}


class File(_Line):
    """A file, ``path`` within the outbox, that becomes the artifact ``name``."""

    kind: Literal["file"] = "file"
    path: str
    name: str


class Samples(_Line):
    """A grid of samples at an epoch: a PNG, ``path`` within the outbox, whose name is the artifact's."""

    kind: Literal["samples"] = "samples"
    path: str


class Package(_Line):
    """The trained model, an MLflow model in the folder ``path`` within the outbox."""

    kind: Literal["package"] = "package"
    path: str
    model_type: str


class End(_Line):
    """The run's end: always the last line.

    Attributes:
        at: when it ended, in milliseconds since 1970.
        status: as MLflow knows it.
        tags: its state, its reason and its description.
    """

    kind: Literal["end"] = "end"
    at: int
    status: str
    tags: dict[str, str]


Record = Creation | Values | File | Samples | Package | End

ENTRY: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Reads a line."""
