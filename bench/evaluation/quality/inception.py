"""Features of InceptionV3 with Keras's ImageNet weights, for colour images."""

from __future__ import annotations

import keras

from bench.core.errors import DataError, SettingsError
from bench.data.cache import cache_folder
from bench.data.dataset import DatasetInfo
from bench.evaluation.quality.network import NetworkExtractor, weights_digest

SIDE = 299
"""Height and width of the images that the network was trained on."""
BATCH_SIZE = 50
_WEIGHTS_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


def open_inception(info: DatasetInfo) -> NetworkExtractor:
    """The 2,048 pooled features of InceptionV3 (Szegedy et al. 2016), pre-trained on ImageNet by Keras.

    Images are scaled to [-1, 1], as in the network's training, and resized to 299 x 299 bilinearly. Published scores
    use other weights and another resizing (the TensorFlow graph of Heusel et al. 2017): these metrics compare with each
    other but not with papers.

    Raises:
        SettingsError: the images are not in colour.
        DataError: the weights are neither cached nor downloadable.
    """
    if info.image_shape[-1] != 3:
        raise SettingsError(
            f"inception_v3 takes colour images of 3 channels, and {info.name} has {info.image_shape[-1]}: "
            "the extractor 'classifier' takes any."
        )
    try:
        body = keras.applications.InceptionV3(
            weights="imagenet", include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3)
        )
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise DataError(
            f"the weights of inception_v3 could neither be read from the cache nor downloaded ({error}). Without a "
            f"network, put {_WEIGHTS_FILE} into {cache_folder().parent / 'models'} (set KERAS_HOME for another place), "
            "or choose the extractor 'classifier', which needs no download."
        ) from error
    digest = weights_digest(body.get_weights())[:8]
    images = keras.Input(info.image_shape, dtype="float32")
    resized = keras.layers.Resizing(SIDE, SIDE, interpolation="bilinear", dtype="float32")(images)
    return NetworkExtractor(
        name="inception_v3",
        description=f"InceptionV3 with Keras's ImageNet weights {digest}, not the TensorFlow-FID network of published "
        "scores",
        network=keras.Model(images, body(resized)),
        grey_levels=info.grey_levels,
        batch_size=BATCH_SIZE,
    )
