"""A Keras network as a feature extractor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import numpy.typing as npt

from bench.data.dataset import Images
from bench.evaluation.quality.accuracy import Accuracy
from bench.evaluation.quality.estimate import Array


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """Features by a Keras network of images scaled to [-1, 1].

    Attributes:
        name: the kind of extractor.
        description: the network and its weights.
        network: images (n, h, w, c) in [-1, 1] -> features (n, d).
        grey_levels: Q.
        batch_size: images per batch.
        accuracy: of the network, where it was trained on the data.
    """

    name: str
    description: str
    network: keras.Model = field(repr=False)
    grey_levels: int
    batch_size: int
    accuracy: Accuracy | None = None

    @property
    def size(self) -> int:
        """Number of features d."""
        return int(self.network.output_shape[-1])

    def features(self, images: Images) -> Array:
        """Images (n, h, w, c) in 0..Q-1 -> features (n, d)."""
        features = np.empty((len(images), self.size))
        for start in range(0, len(images), self.batch_size):
            batch = scale(images[start : start + self.batch_size], self.grey_levels)
            # Padded, as another batch size would be compiled again.
            missing = [(0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
            result = self.network.predict_on_batch(np.pad(batch, missing))
            features[start : start + len(batch)] = np.asarray(result)[: len(batch)]
        return features


def scale(images: Images, grey_levels: int) -> npt.NDArray[np.float32]:
    """Grey levels 0..Q-1 -> [-1, 1]."""
    return np.asarray(images, dtype=np.float32) * np.float32(2 / (grey_levels - 1)) - np.float32(1)


def weights_digest(weights: Sequence[npt.NDArray[np.generic]]) -> str:
    """SHA-256 over shapes and values of a network's weights, in order."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.shape} {weight.dtype} ".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
