"""A trial or a final run as the store has it, in rows of a study's frames. Imports no framework."""

from __future__ import annotations

import io
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from bench.core.metrics import METRICS
from bench.core.results import BoundKind, ImageGrid
from bench.tracking.location import Artifacts
from bench.tracking.reading.sources import StoredRun
from bench.tracking.run_tags import RunTags, raise_if_edited, read_json
from bench.tracking.schema import (
    DETAILS_TAG,
    ERROR_SUFFIX,
    EVALUATION_SUFFIX,
    IMAGE_FOLDER,
    MONTE_CARLO_SUFFIX,
    TABLE_FOLDER,
    TRAINING_MODE,
    UI_ADDRESS,
    UNAVAILABLE_TAG,
)


class Selected(BaseModel):
    """What the tag ``reparam.selected`` says of an arm."""

    config_hash: str


def download(artifacts: Artifacts, address: str) -> bytes:
    """The content of an artifact."""
    with tempfile.TemporaryDirectory() as folder:
        return artifacts.download(address, Path(folder)).read_bytes()


_RESCUES = f"train/rescues{EVALUATION_SUFFIX}"
_NAME = re.compile(r"[\w-][\w.-]*")
"""Of an artifact."""


def _ui(uri: str) -> str:
    """The address of the MLflow UI: a server's own, or that of `reparam-bench ui` for any other store."""
    scheme, _, rest = uri.rstrip("/").partition("://")
    # Without credentials, since reports show it; a browser asks for them.
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme in ("http", "https") else UI_ADDRESS


class Child:
    """A model run in the store."""

    def __init__(self, run: StoredRun, selected: Mapping[str, Selected]) -> None:
        self.run = run
        self.run_id = run.run_id
        self.tags = RunTags.of(run.run_id, run.tags)
        self.arm = self.tags.arm
        self.role: str = self.tags.role
        chosen = selected.get(self.arm)
        if self.role == "final" and chosen and chosen.config_hash != self.tags.config_hash:
            self.role = "superseded"

    @property
    def unavailable(self) -> dict[str, str]:
        """Why each metric is missing that could not be measured."""
        return dict(self._json(UNAVAILABLE_TAG, {}))

    def _json(self, tag: str, default: Any) -> Any:
        return read_json(self.run_id, self.run.tags, tag, default)

    def row(self, uri: str) -> dict[str, Any]:
        """What ``runs`` has of it: ``RUN_COLUMNS``, parameters and the address of its page."""
        run = self.run
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "name": run.name,
            "role": self.role,
            "arm": self.arm,
            "family": self.tags.family,
            "number": self.tags.number,
            "attempt": self.tags.attempt,
            "continued_from": self.tags.continued_from,
            "seed": self.tags.seed,
            "state": self.tags.state.value,
            "reason": self.tags.reason,
            "config_hash": self.tags.config_hash,
            "started": self._started(),
            "seconds": math.nan if run.end_time is None else (run.end_time - run.start_time) / 1000,
            "url": f"{_ui(uri)}/#/experiments/{run.experiment_id}/runs/{self.run_id}?{TRAINING_MODE}",
        }
        return row | {f"param.{name}": _parsed(value) for name, value in run.params.items()}

    def _started(self) -> pd.Timestamp:
        with raise_if_edited(self.run_id, "when it began"):
            return pd.Timestamp(self.run.start_time, unit="ms", tz="UTC")

    def measurements(self, study_id: str) -> list[tuple[Any, ...]]:
        """The rows of ``measurements``, each in the order of ``MEASUREMENT_COLUMNS``."""
        values, details, tags = self.run.metrics, list(self._details()), self.tags
        if _RESCUES in values and "cost/rescues" not in values:
            # Pruned or diverged, so that it was not measured.
            values = {**values, "cost/rescues": values[_RESCUES]}
            details.append(("cost", "rescues", {}))
        run = (study_id, self.run_id, self.role, self.arm, tags.family, tags.number, tags.seed, tags.config_hash)
        with raise_if_edited(self.run_id):
            return [(*run, *_measured(values, *each)) for each in details]

    def _details(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for tag in self.run.tags:
            if tag.startswith(DETAILS_TAG):
                for metric, detail in self._json(tag, {}).items():
                    yield tag.removeprefix(DETAILS_TAG), metric, detail

    def pictures(self, artifacts: Artifacts) -> Iterator[ImageGrid]:
        """Its pictures, downloaded."""
        captions = self._json("reparam.captions", {})
        for kind, caption in captions.items():
            self._check_name(kind)
            png = self._read(artifacts, f"{IMAGE_FOLDER}/{kind}.png")
            yield ImageGrid(self.run_id, self.arm, kind, caption, png)

    def tables(self, artifacts: Artifacts) -> Iterator[tuple[str, pd.DataFrame]]:
        """Its tables, downloaded, by name."""
        for name in self._json("reparam.tables", []):
            self._check_name(name)
            content = self._read(artifacts, f"{TABLE_FOLDER}/{name}.csv")
            with raise_if_edited(self.run_id, f"its artifact {TABLE_FOLDER}/{name}.csv"):
                table = pd.read_csv(io.BytesIO(content))
                table.insert(0, "run_id", self.run_id)
            yield name, table

    def _check_name(self, name: object) -> None:
        """A name with a slash, which nothing that is logged has, would lead outside the run's artifacts."""
        with raise_if_edited(self.run_id, "the name of an artifact"):
            if not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise ValueError(f"{name!r}, in a tag")

    def _read(self, artifacts: Artifacts, path: str) -> bytes:
        return download(artifacts, f"{self.run.artifacts}/{path}")


def _measured(values: Mapping[str, float], split: str, metric: str, detail: dict[str, Any]) -> tuple[Any, ...]:
    """What a row of ``measurements`` has of one number: its split, and all that follows there."""
    key, known = f"{split}/{metric}", METRICS.get(metric)
    bound = (
        (BoundKind(detail["kind"]).value, detail["importance_samples"], detail["dequantisation"])
        if "kind" in detail
        else (None, None, None)
    )
    return (
        split,
        metric,
        values[key],
        values.get(f"{key}{ERROR_SUFFIX}"),
        detail.get("n"),
        known.unit if known else "",
        known.higher_is_better if known else None,
        *bound,
        values.get(f"{key}{MONTE_CARLO_SUFFIX}"),
        detail.get("conditions", ""),
    )


@lru_cache(65_536)  # most runs have the same ones
def _parsed(text: str) -> Any:  # MLflow stores every parameter as text
    """A parameter's value, as a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
