"""The records of an outbox, one per line: each holds everything that its upload needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from bench.tracking.outbox.inside import check_name, check_path
from bench.tracking.schema import ENDS

LATEST = 9_223_372_036_854
"""The last millisecond since 1970 that pandas can read, in the year 2262; a database takes no whole number beyond."""


def _check_status(status: str) -> str:
    if status not in ENDS:
        raise ValueError(f"{status!r} is no status of a run that has ended: {', '.join(sorted(ENDS))} are accepted")
    return status


_Path = Annotated[str, AfterValidator(check_path)]
_Time = Annotated[int, Field(ge=0, le=LATEST)]
_Step = Annotated[int, Field(ge=0, le=2**63 - 1)]


class _Line(BaseModel):
    # A diverged run logs NaN, which JSON itself does not know.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Creation(_Line):
    """The run itself: always the first record.

    Attributes:
        store: the tracking URI without credentials, that of a file beside the outboxes relative to them; the run is
            uploaded to no other store.
        experiment_id: MLflow's identifier of the experiment.
        name: the run's name.
        at: when it began, in milliseconds since 1970.
        tags: tags at its creation, including the run's key.
        parameters: parameters.
        dataset: its input: name, digest, source and profile, as MLflow takes them.
        context: what the data set is used for.
        note_if_lost: the run's description in case its process dies before the run ends.
    """

    kind: Literal["creation"] = "creation"
    store: str
    experiment_id: str
    name: str
    at: _Time
    tags: dict[str, str]
    parameters: dict[str, str]
    dataset: dict[str, str]
    context: str
    note_if_lost: str


class Values(_Line):
    """Metrics at one step, and tags.

    Attributes:
        at: when they were logged, in milliseconds since 1970; it makes a repeated upload write the same points.
        step: their step.
        metrics: values by key.
        of_model: keys of the metrics that describe the run's logged model.
        tags: tags.
    """

    kind: Literal["values"] = "values"
    at: _Time
    step: _Step = 0
    metrics: dict[str, float] = {}
    of_model: tuple[str, ...] = ()
    tags: dict[str, str] = {}


class File(_Line):
    """A file, ``path`` within the outbox, that becomes the artifact ``name``."""

    kind: Literal["file"] = "file"
    path: _Path
    name: Annotated[str, AfterValidator(check_name)]


class Samples(_Line):
    """A grid of samples at an evaluation: a PNG, ``path`` within the outbox, whose name is the artifact's."""

    kind: Literal["samples"] = "samples"
    path: _Path


class Package(_Line):
    """The trained model, an MLflow model in the folder ``path`` within the outbox; ``digest`` is that of its file."""

    kind: Literal["package"] = "package"
    path: _Path
    model_type: str
    digest: str = ""


class End(_Line):
    """The run's end: always the last record.

    Attributes:
        at: when it ended, in milliseconds since 1970.
        status: its MLflow status.
        tags: its state, its reason and its description.
    """

    kind: Literal["end"] = "end"
    at: _Time
    status: Annotated[str, AfterValidator(_check_status)]
    tags: dict[str, str]


Record = Creation | Values | File | Samples | Package | End

RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Parses a line."""
