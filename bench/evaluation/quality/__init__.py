"""Sample quality: how far samples are from held-out images, and how far real images are from each other.

The metrics are NumPy, SciPy and scikit-learn on features, and import no framework; only an extractor does, when opened.
"""

from bench.evaluation.quality.estimate import SMALLEST_SET, Estimate
from bench.evaluation.quality.extractor import EXTRACTORS, Extractor, open_extractor
from bench.evaluation.quality.frechet import frechet_distance, frechet_distance_infinity
from bench.evaluation.quality.kid import kernel_distance
from bench.evaluation.quality.memorization import data_copying, nearest_training_images
from bench.evaluation.quality.prdc import Manifold, manifold_metrics
from bench.evaluation.quality.scores import Quality, sample_quality

__all__ = [
    "EXTRACTORS",
    "SMALLEST_SET",
    "Estimate",
    "Extractor",
    "Manifold",
    "Quality",
    "data_copying",
    "frechet_distance",
    "frechet_distance_infinity",
    "kernel_distance",
    "manifold_metrics",
    "nearest_training_images",
    "open_extractor",
    "sample_quality",
]
