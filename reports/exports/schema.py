"""The form of ``answer.json``: typed definitions, from which ``answer.schema.json`` beside this file is generated.

``python -m reports.exports.schema`` writes it again.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bench.core.results import RunState
from reports.analysis.practical import Verdict
from reports.text.answer import Outcome

SCHEMA_VERSION: Literal["1.1"] = "1.1"
"""The first number rises where a reader of the version before would fail, the second where keys are added."""
FILE = "answer.schema.json"


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class Data(_Part):
    """The data set."""

    name: str | None
    source: str | None
    """Where it comes from, and under which licence."""
    digest: str | None
    """Of its images and their split."""
    image_shape: list[int] | None
    """Height, width, channels."""
    grey_levels: int | None
    """Levels that a pixel takes."""
    sizes: dict[str, int]
    """Number of images by split."""


class Hardware(_Part):
    """Where the study ran."""

    device: str | None
    processor: str | None
    cores: int | None
    memory_bytes: int | None
    platform: str | None


class Code(_Part):
    """What ran."""

    commit: str | None
    """Of the source tree."""
    dirty: bool | None
    """Whether the tree had uncommitted changes; null where that is not known."""
    code: str | None
    """Digest of the code and versions of what results depend on."""
    versions: dict[str, str]
    """By package."""


class Study(_Part):
    """The study."""

    id: str
    """Its identifier: the same arms, data and settings give the same one."""
    name: str
    question: str
    data: Data
    backend: str | None
    """The Keras backend."""
    hardware: Hardware
    code: Code
    settings: dict[str, JsonValue]
    """As they were logged."""
    started: str | None
    """When the first run began: ISO 8601, UTC."""
    last_started: str | None
    """When the last run began: ISO 8601, UTC."""


class Interval(_Part):
    """A difference with its interval."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    """Confidence level of the interval, 0.95."""
    over_seeds: bool
    """Whether the interval covers another draw of training seeds in both arms."""
    over_images: bool
    """Whether it covers another draw of test images."""
    paired: bool
    """Whether the arms were compared image by image."""
    p: float | None
    """Two-sided p-value of no difference, of the same statistic as the interval."""


class Rank(_Part):
    """An arm's place by test bits/dim."""

    arm: str
    bits_per_dim: float | None
    """Mean over seeds."""
    standard_error: float | None
    """Over seeds where there are two or more, else over images."""
    seeds: int
    """Seeds in the mean."""
    excluded: int
    """Final runs without a finite value, which are not in the mean."""
    behind_first: Interval | None
    """Its mean less that of the first arm; null for the first, and where no uncertainty is known."""
    separated: bool | None
    """Whether that interval leaves 0 out; null where there is none."""


class Answer(_Part):
    """What the study found."""

    outcome: Outcome
    """``lowest``: the first arm of the ranking is lowest, the intervals of its distances to all others leave 0 out.
    ``undecided``: one contains 0. ``no_interval``: no uncertainty is known. ``not_ranked``: the likelihoods are in
    different units. ``one_arm``, ``one_measured``, ``none_measured``: there is nothing to compare with."""
    so_far: bool
    """Whether half of the seeds or more were still improving when training ended: of the arm that the lowest is
    compared with where their order is clear, else of one of the two."""
    headline: str
    """The answer in sentences that stand alone, as on the page."""
    details: list[str]
    """What must be known to weigh it."""
    outlook: list[str]
    """What would change it."""
    ranking: list[Rank]
    """Arms with finite test bits/dim, the lowest mean first; empty where the arms are not ranked."""


class Bound(_Part):
    """The bound that a likelihood is."""

    kind: str
    """``importance-weighted``, ``importance-weighted dequantisation``, ``exact``, or a user's own."""
    importance_samples: int | None
    """Its number of samples k."""
    dequantisation: str | None
    """``none``, ``uniform``, ``variational`` or ``categorical``."""
    text: str
    """The same in words."""


class Ends(_Part):
    """The ends of an interval."""

    low: float | None
    high: float | None


class Floor(_Part):
    """What real data scores under the same conditions; where a metric has a direction, no sampler should do better."""

    mean: float | None
    standard_error: float | None


class Measurement(_Part):
    """What the final runs of an arm reached in one metric under one set of conditions."""

    group: str
    """The split, or the group where there is none: ``test``, ``quality``, ``throughput``, ``cost``, ``diagnostics``."""
    metric: str
    label: str
    """The metric as people write it."""
    unit: str
    higher_is_better: bool | None
    """Null where neither direction is better."""
    conditions: str
    """What else the value depends on: feature extractor, batch size, precision, backend, device."""
    samples: int | None
    """Of sample quality: the number of samples."""
    mean: float | None
    """Over the seeds that gave a finite value; null where none did."""
    standard_error: float | None
    """Over seeds where there are two or more, else within the run, over the images or windows that it averages."""
    seeds: int
    """Seeds in the mean."""
    excluded: int
    """Final runs whose value is not finite."""
    interval_over_seeds: Ends | None
    """On test, the 95% interval of the mean: Student's t over seeds."""
    images_standard_error: float | None
    """On test, the standard error over images, beside that over seeds."""
    monte_carlo_error: float | None
    """On test, what another draw of as many importance samples would change."""
    n: list[int]
    """Numbers of images or windows that the values average."""
    bounds: list[Bound]
    """The different bounds that the values are; empty for a metric that is no likelihood."""
    real_images: Floor | None
    warning: str | None
    """Why the value is not to be relied on."""


class Selected(_Part):
    """A swept parameter with its selected value."""

    parameter: str
    value: JsonValue
    swept: JsonValue
    """Its range as the study logged it; null where it logged none."""
    edge: Literal["top", "bottom"] | None
    """At or near which end of its range the value lies, where that end can be moved."""


class Trial(_Part):
    """The selected trial."""

    run_id: str
    number: int | None
    bits_per_dim: float | None
    """On validation: the best of many, which flatters; of a trial that was stopped at a rung, its value there."""
    standard_error: float | None


class FinalRun(_Part):
    """A reported final run."""

    run_id: str
    seed: int | None
    bits_per_dim: float | None
    """On test."""
    standard_error: float | None
    """Over test images."""


class Tuning(_Part):
    """What the search spent, trials that failed included."""

    trials: int
    images: float | None
    """Training images."""
    seconds: float | None


class Budget(_Part):
    """What an arm was given."""

    trials: int
    """Of the search."""
    final_images: tuple[int, int] | None
    """The least and the most training images that its final runs saw."""
    tuning: Tuning | None
    """Null where no trial has completed with a finite value."""


class Arm(_Part):
    """An arm: a model configuration with what was swept of it."""

    name: str
    title: str
    """As the page writes it."""
    family: str
    selected: list[Selected]
    """The swept parameters, those that a reader asks for first."""
    configuration: dict[str, JsonValue]
    """All parameters of the selected configuration."""
    promoted: list[int]
    """Trials that a person had trained to the whole budget, though the search had stopped them."""
    trial: Trial | None
    """Where the configuration comes from; null where no trial has it."""
    superseded: bool
    """Whether another trial has reached a lower validation value, since the final runs or, in a given time, before."""
    final_runs: list[FinalRun]
    left_out: int
    """Complete final runs of other configurations or repeated seeds, which no number here rests on."""
    budget: Budget
    parameters: float | None
    """Trainable weights; mean over seeds, as among the measurements."""
    bits_per_dim: Measurement | None
    """On test, as among the measurements."""
    nll_nats: Measurement | None
    """On test, as among the measurements."""
    measurements: list[Measurement]
    """Everything that the final runs measured, in the page's order."""


class Difference(_Part):
    """A tested difference: the mean of the first arm less that of the second."""

    group: str
    metric: str
    label: str
    unit: str
    higher_is_better: bool
    conditions: str
    samples: int | None
    first: str
    second: str
    interval: Interval
    hedges_g: float | None
    """Effect size over seeds; null where seeds do not vary."""
    holm_p: float | None
    """p adjusted by Holm's method over all differences here."""
    better: str | None
    """The arm that is better; null where the interval contains 0."""
    warning: str | None


class Pair(_Part):
    """How probably two arms are further apart than the region of equivalence; the first has the lower mean."""

    first: str
    second: str
    better: float | None
    """Probability that the first is lower by more than the region; the three are null where they are not known."""
    equal: float | None
    """Probability that the two differ by no more than the region."""
    worse: float | None
    """Probability that the second is lower by more than the region."""
    verdict: Verdict
    """``better``, ``equal`` or ``worse`` where that is 95% probable, else ``open``."""
    reason: str | None
    """Why the probabilities are not known."""


class Equivalence(_Part):
    """Practical size."""

    region: float
    """In bits/dim: a smaller difference does not matter to the reader."""
    pairs: list[Pair]
    """Every two arms with test bits/dim; empty where units differ."""


class ArmAtBudget(_Part):
    """An arm on test at a share of its budget, with its best weights until then."""

    arm: str
    bits_per_dim: float | None
    """Mean over seeds."""
    standard_error: float | None
    """Over seeds where there are two or more, else over images."""
    seeds: int
    early: bool
    """Whether the schedule of the learning rate is not known to be that of a run of this budget."""


class AtBudget(_Part):
    """The arms on test at one budget."""

    images: float
    """Training images."""
    arms: list[ArmAtBudget]
    """Those that every seed measured there, or had ended before."""
    lowest: str | None
    """Null where fewer than two arms were measured."""
    second: str | None
    """The arm that the lowest is compared with: the first that is not separated from it, else the next."""
    interval: Interval | None
    """By how much the second lies above the lowest."""


class Crossing(_Part):
    """A budget at which two arms change their order on validation: best evaluation so far, one-sample bound."""

    cost: Literal["images", "seconds", "operations", "joules"]
    """In what the budget is counted: training images seen, training time, floating-point operations, energy."""
    unit: str
    """Of the budget: ``images``, ``s``, ``FLOP``, ``J``."""
    with_tuning: bool
    """Whether what each arm's search cost is in the budget."""
    before: str
    """The arm with the lower mean before."""
    after: str
    """The arm with the lower mean after."""
    at: float
    """The first budget at which the means were measured in their new order."""
    low: float | None
    """The last budget before at which the interval of the difference leaves 0 out; null where none was measured."""
    high: float | None
    """The first budget after at which it does; null where none was measured."""
    level: float
    """Confidence level of the interval from ``low`` to ``high``, 0.95."""
    has_interval: bool
    """Whether both arms have two seeds or more; without, both ends are null as no interval is known."""
    times: int
    """How often the means change their order within the interval."""


class Forecast(_Part):
    """What an arm's final runs are forecast to reach with more training."""

    arm: str
    made_at: float | None
    """Training images until now; this and the numbers below are null where there is no forecast."""
    best: float | None
    """The lowest validation bits/dim of the mean curve until now."""
    budget: float | None
    """Training images that the forecast is for."""
    bits_per_dim: float | None
    """The lowest validation bits/dim by then: the median."""
    low: float | None
    high: float | None
    level: float
    """Level of the interval from ``low`` to ``high``, 0.95."""
    reason: str | None
    """Why there is no forecast."""


class ReferenceCode(_Part):
    """What a code that is no arm takes for the same test images."""

    metric: str
    label: str
    bits_per_dim: float
    standard_error: float | None
    n: int | None
    """Test images."""
    conditions: str
    is_model: bool
    """Whether it is that of the reference model, which learns."""
    parameters: float | None
    training_seconds: float | None
    training_images: float | None


class Finding(_Part):
    """A sentence of the diagnostics."""

    text: str
    alarm: bool
    arm: str | None
    """Null where it is about the whole study."""


class Unavailable(_Part):
    """A metric that could not be measured."""

    arm: str | None
    """Null for a reference code."""
    metric: str
    reason: str
    runs: int | None
    """Final runs that could not measure it."""


class Runs(_Part):
    """How many runs ended in which way."""

    role: str
    """``search``, ``final`` or ``superseded``."""
    arm: str
    counts: dict[str, int]
    total: int


class AnswerFile(_Part):
    """The answer of a study of likelihood models, with the numbers that its report states.

    Numbers are unrounded; a number that is not known or not finite is null. Texts are those of the page, without
    credentials and with absolute paths cut to their last part.
    """

    schema_version: Literal["1.1"]
    study: Study
    answer: Answer
    arms: list[Arm] = Field(description="In the study's order.")
    differences: list[Difference] = Field(description="Every tested difference between two arms.")
    equivalence: Equivalence
    budgets: list[AtBudget] = Field(description="Test values at shares of the budget; empty where none was measured.")
    crossings: list[Crossing] = Field(
        description="Every change of the order of two arms, against each cost that is known; empty where none changes."
    )
    forecasts: list[Forecast] = Field(description="Of each arm, in the study's order.")
    reference_codes: list[ReferenceCode] = Field(description="The shortest first.")
    findings: list[Finding] = Field(description="Alarms first.")
    unavailable: list[Unavailable]
    runs: list[Runs] = Field(description=f"States: {', '.join(RunState)}; others only where somebody logged them.")
    repeated_attempts: int = Field(description="Interrupted attempts that later ones repeated: no run counted here.")


def json_schema() -> str:
    """The JSON Schema of ``answer.json``, as the repository keeps it."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= AnswerFile.model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(str(resources.files("reports.exports").joinpath(FILE))).write_text(json_schema(), encoding="utf-8")
