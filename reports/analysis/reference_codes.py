"""Reference codes beside a study's arms: what codes that are no arms of it take for the same test images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from bench.core.metrics import CODES, REFERENCE_MODEL_CODE
from bench.core.results import REFERENCE_MODEL
from reports.formatting import listing, quantity

if TYPE_CHECKING:
    from reports.analysis.results import Study


@dataclass(frozen=True)
class Code:
    """A reference code.

    Attributes:
        name: its metric.
        label: its name as people write it.
        definition: what it is.
        value: bits/dim.
        error: standard error over images; NaN where there is none.
        n: the number of images.
        conditions: which of the test images they are, where not all; of a model, on how many images it was trained.
        is_model: whether it is that of the reference model.
    """

    name: str
    label: str
    definition: str
    value: float
    error: float
    n: int | None
    conditions: str
    is_model: bool = False

    @property
    def notes(self) -> list[str]:
        """On how many images it was measured."""
        return [*filter(None, [self.conditions]), *([] if self.n is None else [f"n = {self.n:,}"])]

    @property
    def level(self) -> str:
        """Its bits/dim with the error."""
        return quantity(self.value, self.error)

    @property
    def in_words(self) -> str:
        """Its name within a sentence."""
        return f"{self.label[0].lower()}{self.label[1:]}" if self.label.split()[0].istitle() else self.label


def short(code: Code) -> str:
    """A code's name where there is little room."""
    return SHORT.get(code.name, code.in_words)


def kinds(codes: list[Code]) -> str:
    """What these are, as captions name them."""
    return listing(sorted({"reference model" if code.is_model else "reference codes" for code in codes}))


SHORT = {"code_pixel_histogram": "histogram", "code_webp": "WebP", REFERENCE_MODEL_CODE: "PixelCNN"}


def reference_codes(study: Study) -> list[Code]:
    """Those that a study logged with a finite value, the shortest first."""
    found = []
    for each in study.results.reference_codes.measured:
        known = CODES.get(each.metric)
        error = math.nan if each.standard_error is None else each.standard_error
        label, definition = (known.label, known.definition) if known else (each.metric, "")
        conditions, is_model = each.conditions, each.split == REFERENCE_MODEL
        if is_model and known is None:
            continue
        if is_model:
            cost = model_cost(study)
            time = quantity(cost.get("training_seconds"), unit="s")
            label = f"{label}, {quantity(cost.get('parameters'))} weights, {time}"
            seen = f"after {quantity(cost.get('training_images'))} training images"
            conditions = ", ".join(filter(None, [seen, conditions]))
        if math.isfinite(each.value) and each.value > 0:
            found.append(Code(each.metric, label, definition, each.value, error, each.n, conditions, is_model))
    return sorted(found, key=lambda code: code.value)


def model_cost(study: Study) -> dict[str, float]:
    """``parameters``, ``training_seconds`` and ``training_images`` of the reference model, as far as it logged them."""
    return {each.metric: each.value for each in study.results.reference_codes.measured if each.split == REFERENCE_MODEL}


def code_table(study: Study) -> pd.DataFrame:
    """The reference codes as they lie beside the page."""
    columns = ["code", "label", "bits_per_dim", "standard_error", "images", "conditions"]
    rows = [(each.name, each.label, each.value, each.error, each.n, each.conditions) for each in reference_codes(study)]
    return pd.DataFrame(rows, columns=columns)


def best_code(study: Study) -> Code | None:
    """The shortest of a study's reference codes that need no training; None where it logged none."""
    return next((code for code in reference_codes(study) if not code.is_model), None)


def reference_model(study: Study) -> Code | None:
    """The code of a study's reference model; None where it logged none."""
    return next((code for code in reference_codes(study) if code.is_model), None)
