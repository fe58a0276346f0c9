"""Descriptions in the MLflow UI, as Markdown: of experiments, studies, runs and registered models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.core.metrics import METRICS
from bench.core.redaction import redact
from bench.core.results import Measurement, RunState
from bench.tracking.registry import sample_request, serve_command
from bench.tracking.schema import StudyDescription
from bench.tracking.views import VIEWS, view_address

if TYPE_CHECKING:
    from bench.tracking.logged_run import LoggedRun

_UNSAFE = re.compile(r"[^\w ,.;?()%-]|_")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Escapes text from outside, so that Markdown shows it literally, on one line and without credentials.

    Possible markup of Markdown or HTML becomes character references; control characters and those that change the
    direction of writing become their codes, such as ``\u202e``.
    """
    # Redact before escaping, or addresses no longer match.
    known = " ".join(redact(text).split())
    visible = _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", known)
    return _UNSAFE.sub(lambda found: f"&#{ord(found.group())};", visible)


def experiment_note(study: StudyDescription, experiment_id: str) -> str:
    """The description of an experiment: what it holds, with links to its views."""
    # In the first line, which is all that the UI shows before it is unfolded.
    views = " · ".join(f"[{view.name}]({view_address(experiment_id, view)})" for view in VIEWS)
    return f"""{views} **{plain(study.question)}**

Each parent run is one study: this question on one data set, with one set of settings. Its children are models: the
trials of the search, evaluated on validation alone, and the final runs, which retrain the best trial's configuration
from several seeds and are evaluated once on test.

Bits/dim are upper bounds: smaller is better. `…_standard_error` is the standard error of a metric over images.
`…_by_evaluation` are learning curves, of the one-sample bound.
"""


def study_note(study: StudyDescription, headline: str = "", report: str = "") -> str:
    """The description of a study: its question and, once there is a report, the answer and a link."""
    answer = f"**{plain(headline)}** " if headline else ""
    answer += f"[Read the report]({report}).\n\n" if report else ""
    swept = "; ".join(
        f"{arm} by {', '.join(plain(name) for name in names)}" for arm, names in study.swept.items() if names
    )
    data = study.dataset
    return f"""*{plain(study.question)}*

{answer}Data: {plain(data.name)}, {data.form}. {plain(data.source)}

{f"Swept: {swept}." if swept else ""}
"""


def run_note(
    study: StudyDescription,
    parent: str,
    state: RunState,
    reason: str,
    rank: str,
    measured: Sequence[Measurement],
) -> str:
    """The description of a model run: how it ended, its bits/dim and its rank.

    Args:
        study: the study that it is part of.
        parent: the address of the study's run.
        state: how it ended.
        reason: why, if it did not complete.
        rank: its rank among the others, in words.
        measured: its measurements.
    """
    ended = f"**{state.replace('_', ' ').capitalize()}.**" + (f" {plain(reason)}." if reason else "")
    values = [_value(row, study.dataset.unit) for row in measured if row.metric == "bits_per_dim"]
    lines = [ended, *values, rank and f"{rank}.", f"Part of [{plain(study.study_id)}]({parent})."]
    return "\n\n".join(line for line in lines if line) + "\n"


def _value(row: Measurement, unit: str) -> str:
    error = "" if row.standard_error is None else f" ± {row.standard_error:.4f}"
    over = "" if row.standard_error is None else f"; ± is the standard error over {row.n:,} images"
    about = f" ({row.bound}{over})" if row.bound else ""
    return f"{row.value:.4f}{error} {METRICS[row.metric].unit_on(unit)} on {plain(row.split)}{about}."


def registered_model_note(study: StudyDescription, name: str, uri: str) -> str:
    """The description of a registered model: what it is, how its champion is chosen, and how to serve it."""
    height, width, channels = study.dataset.image_shape
    return f"""*{plain(study.question)}* Data: {plain(study.dataset.name)}.

The alias `champion` is the final run of the selected configuration that has the
lowest {study.dataset.unit} on *validation* at the end of its training (one-sample bound). The choice does not use the
test split.

Serve it, with reparam-bench's environment active:

    {serve_command(uri, name)}

Ask for samples, others at each request unless `params` has a `seed`:

    {sample_request()}

or for the {study.dataset.unit} of {study.dataset.noun} (high for those unlike the training data), as the file
`serving_input_example.json` among the logged model's artifacts does: `inputs` is a list of images, each
{height}x{width}x{channels} integers from 0 to {study.dataset.grey_levels - 1}, and `params`
may set `importance_samples` (64) and `seed` (0).
"""


def version_note(run: LoggedRun, unit: str) -> str:
    """The description of a registered model's version: the final run that it is."""
    reached = "" if run.validation is None else f": {run.validation:.4f} {unit} on validation (one-sample bound)"
    return f"The final run of {plain(run.arm)} from seed {run.seed}{reached}."
