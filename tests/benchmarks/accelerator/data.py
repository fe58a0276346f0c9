"""The images that the parts train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.data.dataset import TuningData
from bench.data.registry import load


def tuning_data(file: Path, validation_images: int) -> TuningData:
    """Training images, and the first validation images; the test split stays closed."""
    data = load(str(file)).tuning
    return replace(data, validation=data.validation.some(validation_images))
