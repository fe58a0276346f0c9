"""The tags of a model run, which people may edit in the MLflow UI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import DisagreementError
from bench.core.logs import shorten
from bench.core.results import RunState

PREFIX = "reparam."


def is_own(tags: Mapping[str, str]) -> bool:
    """Whether a run below a study's is one of its own, and none that a person made there."""
    return any(name.startswith(PREFIX) for name in tags)


class RunTags(BaseModel):
    """What the tags of a model run say."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["search", "final"]
    arm: str
    family: str
    seed: int
    config_hash: str
    state: RunState
    number: int | None = None
    attempt: int = 1
    continued_from: int = 0
    """The evaluation of earlier attempts after which it went on; 0 if it began from the start."""
    key: str = ""
    """Identifies the run before MLflow does; empty in runs of earlier versions."""
    reason: str = ""

    @classmethod
    def of(cls, run_id: str, tags: Mapping[str, str]) -> RunTags:
        """Read the tags of a run.

        Raises:
            DisagreementError: they are not as a run logs them.
        """
        try:
            return cls.model_validate(
                {name: tags.get(PREFIX + name) for name in cls.model_fields if PREFIX + name in tags}
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = f"{PREFIX}{first['loc'][0]}"
            found = f"is {tags[name]!r}" if name in tags else "is missing"
            raise edited(run_id, f"its tag {name} {found} ({first['msg']})") from error


def edited(run_id: str, problem: str) -> DisagreementError:
    """The error that a run is not as it was logged."""
    return DisagreementError(
        f"run {run_id} is not as it was logged: {shorten(problem)}; set it back in MLflow, or delete the run there"
    )


@contextmanager
def raise_if_edited(run_id: str, what: str = "what a tag holds") -> Iterator[None]:
    """Turn errors of reading what a run's tags hold into one line that names the run.

    Args:
        run_id: MLflow's identifier of the run.
        what: what is read, as the subject of a sentence.

    Raises:
        DisagreementError: the block raised an error of malformed content.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise edited(run_id, f"{what} cannot be read, {type(error).__name__}: {error}") from error


def read_json(run_id: str, tags: Mapping[str, str], name: str, default: Any) -> Any:
    """The content of a tag that holds JSON.

    Raises:
        DisagreementError: it is not JSON of the kind of ``default``.
    """
    with raise_if_edited(run_id):
        content = json.loads(tags[name]) if name in tags else default
        if not isinstance(content, type(default)):
            raise TypeError(f"{name} is {content!r}")
    return content
