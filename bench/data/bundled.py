"""``digits``: small real scans that are part of scikit-learn, for first steps and for tests without a network."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Dataset, DatasetInfo, Split
from bench.data.splitting import ALL, select
from bench.data.validation import assemble, to_images, to_labels

DIGITS = DatasetInfo(
    name="digits",
    image_shape=(8, 8, 1),
    grey_levels=17,
    sizes={"train": 1259, "validation": 179, "test": 359},
    classes=10,
    source="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), UCI, CC BY 4.0, bundled with "
    "scikit-learn; split 70/10/20 % by a fixed permutation.",
)


def load_digits() -> Dataset:
    """The 1,797 digits: 1,259 train, 179 validation and 359 test images (8, 8, 1) in 0..16, with labels."""
    from sklearn.datasets import load_digits as load_bundled

    bundled = load_bundled()
    images = to_images(bundled.images.astype(np.uint8), DIGITS.grey_levels, "digits")
    labels = to_labels(bundled.target, len(images), "digits: labels")
    splits = {
        split: Split(images[indices], labels[indices])
        for split, (_, indices) in select({ALL: len(images)}, "digits").items()
    }
    return assemble(DIGITS, splits, "digits")
