"""InceptionV3 as an extractor. Its weights cannot be downloaded by a test, and are replaced."""

import keras
import numpy as np
import pytest

from bench.core.errors import DataError, SettingsError
from bench.data.dataset import DatasetInfo, Split, TuningData
from bench.evaluation.quality import open_extractor

pytestmark = pytest.mark.backend


def data(image_shape=(8, 8, 3), grey_levels=5, n=7):
    images = np.random.default_rng(0).integers(0, grey_levels, (n, *image_shape)).astype(np.uint8)
    info = DatasetInfo("colours", image_shape, grey_levels, {"train": n, "validation": n, "test": n}, 0, "made up")
    return TuningData(info, "ab" * 32, Split(images), Split(images))


def means(weights, include_top, pooling, input_shape):
    """In Inception's place: the mean of each channel, and of its right half."""
    assert (weights, include_top, pooling, input_shape) == ("imagenet", False, "avg", (299, 299, 3))
    inputs = keras.Input(input_shape)
    pool = keras.layers.GlobalAveragePooling2D()
    return keras.Model(inputs, keras.layers.Concatenate()([pool(inputs), pool(inputs[:, :, 150:])]))


def test_images_are_scaled_resized_and_extracted_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "InceptionV3", means)
    extractor = open_extractor("inception_v3", data(), tmp_path)
    assert (extractor.name, extractor.size) == ("inception_v3", 6)
    assert "not the TensorFlow-FID network" in extractor.description
    images = np.zeros((60, 8, 8, 3), np.uint8)
    images[:, :, 4:] = 4
    images[-1] = 2
    features = extractor.features(images)
    np.testing.assert_allclose(features[:-1, :3], 0, atol=1e-3)
    # Bilinear: column i of 299 lies at (i + 1/2) 8/299 - 1/2 of 8.
    columns = np.interp((np.arange(299) + 0.5) * 8 / 299 - 0.5, np.arange(8), np.repeat([-1.0, 1.0], 4))
    np.testing.assert_allclose(features[:-1, 3:], columns[150:].mean(), rtol=1e-5)
    np.testing.assert_allclose(features[-1], 0, atol=1e-6)


def test_images_that_are_not_in_colour_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"colour images of 3 channels, and colours has 1.*'classifier'"):
        open_extractor("inception_v3", data((8, 8, 1)), tmp_path)


def test_weights_that_cannot_be_had_are_named_with_the_ways_out(tmp_path, monkeypatch):
    def no_network(**_):
        raise Exception("URL fetch failure on https://example.org")  # bare, as Keras raises it

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "InceptionV3", no_network)
    with pytest.raises(DataError, match=r"nor downloaded \(URL fetch failure.*notop\.h5 into .*models.*'classifier'"):
        open_extractor("inception_v3", data(), tmp_path)


@pytest.mark.slow
def test_the_network_itself(tmp_path, monkeypatch):
    original = keras.applications.InceptionV3
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **options: original(**(options | {"weights": None})))
    extractor = open_extractor("inception_v3", data(), tmp_path)
    assert extractor.size == 2048
    images = data().train.images
    features = extractor.features(images[:3])
    assert features.shape == (3, 2048)
    body = original(weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3))
    body.set_weights(extractor.network.get_weights())
    grey = keras.ops.image.resize(255 * images[:3].astype("float32") / 4, (299, 299), interpolation="bilinear")
    expected = body.predict(keras.applications.inception_v3.preprocess_input(np.array(grey)), verbose=0)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5)
