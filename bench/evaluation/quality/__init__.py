"""Sample quality: distances between samples and held-out images, beside those between real images.

The metrics use NumPy and SciPy on features; only opening an extractor imports a framework.
"""

from bench.core.metrics import SMALLEST_SET
from bench.evaluation.quality.estimate import Estimate
from bench.evaluation.quality.extractor import EXTRACTORS, Extractor, must_be_trained, open_extractor
from bench.evaluation.quality.frechet import frechet_distance, frechet_distance_infinity
from bench.evaluation.quality.kid import kernel_distance
from bench.evaluation.quality.memorization import data_copying, nearest_training_images
from bench.evaluation.quality.prdc import Prdc, compute_prdc
from bench.evaluation.quality.scores import UNAVAILABLE_WITHOUT_FEATURES, Quality, sample_quality
from bench.evaluation.quality.text import text_quality

__all__ = [
    "EXTRACTORS",
    "SMALLEST_SET",
    "UNAVAILABLE_WITHOUT_FEATURES",
    "Estimate",
    "Extractor",
    "Prdc",
    "Quality",
    "compute_prdc",
    "data_copying",
    "frechet_distance",
    "frechet_distance_infinity",
    "kernel_distance",
    "must_be_trained",
    "nearest_training_images",
    "open_extractor",
    "sample_quality",
    "text_quality",
]
