"""The run of one trained model, which goes to an outbox on disk."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.digests import file_digest
from bench.core.results import EvaluationRecord, Measurement, RunState
from bench.tracking.descriptions import run_note
from bench.tracking.entries import (
    as_metrics_and_tags,
    clean,
    continues,
    end_tags,
    headline_metrics,
    timestamp,
)
from bench.tracking.outbox.outbox import Outbox, raise_outbox_errors
from bench.tracking.outbox.records import End, File, Package, Record, Samples, Values
from bench.tracking.outbox.uploader import Uploader
from bench.tracking.schema import (
    EVALUATION_SUFFIX,
    IMAGE_FOLDER,
    KEY_TAG,
    LONGEST_TAG,
    MAX_VALUE_LENGTH,
    MODEL_FILE,
    MODEL_FOLDER,
    STATUS,
    TABLE_FOLDER,
    UNAVAILABLE_TAG,
    StudyDescription,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.data.dataset import Images
    from models.base.likelihood_model import LikelihoodModel

SAMPLES_KEY = "samples/by evaluation"
"""The section and the name under which the UI shows sample grids, with a slider."""


class ModelRun:
    """The run of one trained model: its methods write to its outbox, and the uploader uploads that.

    No method waits for the store. All raise :class:`bench.core.errors.OutboxError` if the disk cannot be written.
    """

    def __init__(
        self,
        outbox: Outbox,
        study: StudyDescription,
        address: str,
        uploader: Uploader,
        continuation: str = "",
    ) -> None:
        self.key = outbox.creation.tags[KEY_TAG]
        self._outbox = outbox
        self._study = study
        self._address = address
        self.uploader = uploader
        self._continuation = continuation
        self._measured: list[Measurement] = []
        self._keeps_model = False

    @property
    def run_id(self) -> str | None:
        """MLflow's identifier; None until the store has the run."""
        return self._outbox.state.run_id

    def log_evaluation(self, record: EvaluationRecord) -> None:
        """Log one point of the learning curve."""
        now = timestamp()
        values = {
            **headline_metrics(record.values, EVALUATION_SUFFIX),
            **{f"{key}{EVALUATION_SUFFIX}": float(value) for key, value in record.values.items()},
            f"cost/images_seen{EVALUATION_SUFFIX}": float(record.images),
            f"cost/seconds{EVALUATION_SUFFIX}": float(record.seconds),
        }
        self._write(Values(at=now, step=record.evaluation, metrics=values))
        if record.samples is not None:
            # The name that MLflow's client would choose, fixed here so that it is the same if it is sent again.
            name = f"{SAMPLES_KEY.replace('/', '~')}+step+{record.evaluation}+timestamp+{now}+{uuid.uuid4()}.png"
            self._write(Samples(path=self._outbox.add_file(name, record.samples)))

    def log_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Log values with their errors and conditions; once there is a logged model, as its metrics too."""
        self._measured += measurements
        metrics, tags = as_metrics_and_tags(measurements)
        self._write(
            Values(
                at=timestamp(),
                metrics=headline_metrics({row.key: row.value for row in measurements}) | metrics,
                of_model=tuple(row.key for row in measurements) if self._keeps_model else (),
                tags=tags,
            )
        )

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Log tables of the result schema under ``tables/``, as CSV."""
        for name, table in tables.items():
            self.log_file(table.to_csv(index=False), f"{TABLE_FOLDER}/{name}.csv")
        self._tag("reparam.tables", list(tables))

    def log_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Log why metrics could not be measured."""
        reasons, length = {metric: clean(reason) for metric, reason in unavailable.items()}, MAX_VALUE_LENGTH
        # A user's metric may raise a text of any length, and MLflow would cut the tag, which nobody could read then.
        while length and len(json.dumps({metric: reason[:length] for metric, reason in reasons.items()})) > LONGEST_TAG:
            length //= 2
        self._tag(UNAVAILABLE_TAG, {metric: reason[:length] for metric, reason in reasons.items()})

    def log_file(self, content: bytes | str, name: str) -> None:
        """Log a small file as an artifact; ``name`` may have folders, ``pictures/samples.png``."""
        data = content if isinstance(content, bytes) else clean(content).encode()
        self._write(File(path=self._outbox.add_file(Path(name).name, data), name=name))

    def log_pictures(self, pictures: Sequence[tuple[str, str, bytes]]) -> None:
        """Log pictures (kind, caption, PNG) under ``pictures/``."""
        for kind, _, png in pictures:
            self.log_file(png, f"{IMAGE_FOLDER}/{kind}.png")
        self._tag("reparam.captions", {kind: caption for kind, caption, _ in pictures})

    def log_model(self, model: LikelihoodModel, example: Images) -> None:
        """Log the model, ready to be served, as the run's logged model; measurements that follow describe it.

        A store without logged models keeps the same files as artifacts of the run.

        Args:
            model: the trained model.
            example: an image (1, h, w, c) that shows what it takes.
        """
        # Here, since reading a store takes no framework.
        from bench.tracking.logged_model import write_package

        path = self._outbox.new_path(MODEL_FOLDER)
        folder = self._outbox.folder / path
        with raise_outbox_errors(folder):
            write_package(model, example, folder)
            digest = file_digest(folder / MODEL_FILE)
        self._write(Package(path=path, model_type=str(model.configuration.family), digest=digest))
        self._keeps_model = True

    def finish(self, state: RunState, reason: str = "", rank: str = "") -> None:
        """End the run in a state, with its reason, and its rank among the others in words."""
        about = [text for text in (continues(self._continuation), rank) if text]
        note = run_note(self._study, self._address, state, reason, ". ".join(about), self._measured)
        end = End(at=timestamp(), status=STATUS[state], tags=end_tags(note, state, reason))
        self._write(end)

    def _tag(self, name: str, content: Any) -> None:
        self._write(Values(at=timestamp(), tags={name: json.dumps(content)}))

    def _write(self, record: Record) -> None:
        self._outbox.append(record)
        self.uploader.notify(record)
