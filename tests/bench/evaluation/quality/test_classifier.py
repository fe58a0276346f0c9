"""The classifier whose features sample quality is measured on: trained once, kept, the same on both backends."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from bench.core.errors import DataError, SettingsError
from bench.core.file_locks import LockFileError
from bench.core.metrics import METRICS
from bench.data.bundled import load_digits
from bench.data.dataset import DatasetInfo, Split, TuningData
from bench.evaluation.quality import classifier, must_be_trained, open_extractor
from bench.evaluation.quality.accuracy import Accuracy

pytestmark = pytest.mark.backend


@pytest.fixture
def short(monkeypatch):
    """Four steps of training: enough for all but the accuracy."""
    monkeypatch.setattr(classifier, "MOST_STEPS", 4)


def noise(image_shape, grey_levels, classes=0, n=40, digest="ab" * 32):
    rng = np.random.default_rng(0)

    def split(size):
        images = rng.integers(0, grey_levels, (size, *image_shape)).astype(np.uint16)
        return Split(images, rng.integers(0, classes, size) if classes else None)

    sizes = {"train": n, "validation": 10, "test": 10}
    info = DatasetInfo("noise", image_shape, grey_levels, sizes, classes, "made up")
    return TuningData(info, digest, split(n), split(10))


def by_hand(images, grey_levels, weights):
    """The features in NumPy, convolution by convolution."""
    x = 2 * images.astype(float) / (grey_levels - 1) - 1
    *convolutions, (dense, bias), _ = zip(weights[::2], weights[1::2], strict=True)
    for number, (kernel, offset) in enumerate(convolutions):
        stride = 2 if 0 < number < len(convolutions) - 1 or (number == 0 and min(images.shape[1:3]) >= 16) else 1
        pads = [(0, 0)]
        for side in x.shape[1:3]:
            total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
            pads.append((total // 2, total - total // 2))
        padded = np.pad(x, [*pads, (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
        y = np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + offset
        x = y / (1 + np.exp(-y))
    y = x.mean((1, 2)) @ dense + bias
    return y / (1 + np.exp(-y))


@pytest.mark.parametrize(("kind", "values"), [("image", 1200), ("audio", 30)])
def test_the_error_of_the_accuracy_is_over_blocks_of_windows_that_resemble_their_neighbours(monkeypatch, kind, values):
    rights = np.random.default_rng(0).random(30) < 0.7
    labels = np.arange(1200) % 2
    predicted = np.where(np.repeat(rights, 40), labels, 1 - labels)
    network = SimpleNamespace(features=lambda images: np.eye(2)[predicted[images.reshape(-1)]])
    monkeypatch.setattr(classifier, "NetworkExtractor", lambda *arguments: network)
    windows = Split(np.arange(1200)[:, None, None, None], labels)
    info = DatasetInfo("windows", (1, 1, 1), 1200, {}, 2, "made up", kind=kind)
    found = classifier._accuracy(None, TuningData(info, "", windows, windows), with_labels=True)
    assert (found.value, found.n) == (pytest.approx(rights.mean()), 1200)
    own = np.repeat(rights, values // 30)
    assert found.standard_error == pytest.approx(own.std(ddof=1) / np.sqrt(values))


def of_kind(data, kind):
    return replace(data, info=replace(data.info, kind=kind, encoding={"audio": "mu-law"}.get(kind, "characters")))


@pytest.mark.parametrize(("kind", "classes"), [("text", 0), ("text", 3), ("audio", 0), ("audio", 1)])
def test_text_and_sounds_without_classes_are_not_judged_by_a_network(tmp_path, kind, classes):
    data = of_kind(noise((1, 32, 1), 256, classes), kind)
    assert open_extractor("classifier", data, tmp_path) is None
    assert not must_be_trained("classifier", data, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SettingsError, match="'nonsense' is unknown"):
        open_extractor("nonsense", data, tmp_path)


def test_features_of_a_sound_reach_over_all_of_it(tmp_path, short):
    data = of_kind(noise((1, 64, 1), 256, classes=3), "audio")
    assert must_be_trained("classifier", data, tmp_path)
    extractor = open_extractor("classifier", data, tmp_path)
    halvings = [each for each in extractor.network.layers if getattr(each, "strides", None) == (2, 2)]
    assert len(halvings) == 4  # 64 to 4
    image = open_extractor("classifier", noise((2, 32, 1), 256, classes=3, digest="cd" * 32), tmp_path)
    assert not [each for each in image.network.layers if getattr(each, "strides", None) == (2, 2)]


def test_digits_are_classified_within_seconds_and_the_classifier_is_kept(tmp_path, monkeypatch):
    data = load_digits().tuning
    extractor = open_extractor("classifier", data, tmp_path)
    (kept,) = tmp_path.glob(f"classifier-v2-{data.digest[:12]}-*.json")
    record = json.loads(kept.read_text())
    accuracy = record["accuracy"]
    assert accuracy["value"] > 0.93
    labels = data.validation.labels
    assert (accuracy["n"], accuracy["chance"]) == (179, np.bincount(labels).max() / 179)
    assert accuracy["standard_error"] == pytest.approx(np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 178))
    assert asdict(extractor.accuracy) == accuracy
    assert (extractor.name, extractor.size) == ("classifier", 64)
    assert extractor.description == (
        f"classifier of 10 classes (seed 0, {100 * accuracy['value']:.1f} % on validation, "
        f"weights {record['weights_digest'][:8]})"
    )
    images = data.validation.images
    features = extractor.features(images)

    with np.load(kept.with_suffix(".npz"), allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]
    np.testing.assert_allclose(features, by_hand(images, 17, weights), rtol=1e-3, atol=1e-4)

    # The features must serve the task: the output layer is linear in them.
    assert np.mean((features @ weights[-2] + weights[-1]).argmax(1) == labels) == accuracy["value"]

    def untrainable(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(classifier, "_train", untrainable)
    again = open_extractor("classifier", data, tmp_path)
    assert again.description == extractor.description
    keras.utils.clear_session()
    for survivor in (extractor, again):
        np.testing.assert_allclose(survivor.features(images), features, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{kept.stem}.{ending}" for ending in ("json", "lock", "npz")
    ]


@pytest.mark.parametrize(
    ("image_shape", "grey_levels", "classes"), [((64, 64, 3), 256, 3), ((5, 17, 1), 2, 0), ((1, 1, 4), 65536, 2)]
)
def test_images_of_any_shape_and_grey_levels(image_shape, grey_levels, classes, tmp_path, short):
    data = noise(image_shape, grey_levels, classes)
    extractor = open_extractor("classifier", data, tmp_path)
    features = extractor.features(data.train.images)
    assert features.shape == (40, 64)
    assert features.dtype == np.float64
    assert np.isfinite(features).all()
    task = f"of {classes} classes" if classes else "of 4 orientations, self-supervised"
    assert task in extractor.description
    (kept,) = tmp_path.glob("*.npz")
    with np.load(kept, allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]
    np.testing.assert_allclose(features, by_hand(data.train.images, grey_levels, weights), rtol=1e-3, atol=1e-4)


def test_training_is_the_same_under_any_global_state_and_leaves_it_alone(tmp_path, short, tuning):
    def draws():
        return np.asarray(keras.random.normal((3,))), np.random.normal(size=3)  # noqa: NPY002

    keras.utils.set_random_seed(5)
    expected = draws()
    keras.utils.set_random_seed(5)
    extractor = open_extractor("classifier", tuning, tmp_path / "first")
    np.testing.assert_array_equal(draws(), expected)

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        again = open_extractor("classifier", tuning, tmp_path / "second")
    finally:
        keras.config.set_dtype_policy("float32")
    assert again.description == extractor.description

    images = np.concatenate([tuning.train.images, tuning.train.images[:44]])  # 300: a batch of 256 and a part of one
    features = extractor.features(images)
    np.testing.assert_allclose(features[256:], extractor.features(images[256:]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features[:44], features[256:], rtol=1e-5, atol=1e-6)
    assert extractor.features(images[:0]).shape == (0, 64)


def test_orientations_are_the_four_flips():
    image = np.arange(6).reshape(1, 2, 3, 1)
    flipped = classifier.orient(np.repeat(image, 4, axis=0), np.arange(4))[..., 0]
    np.testing.assert_array_equal(
        flipped,
        [[[0, 1, 2], [3, 4, 5]], [[2, 1, 0], [5, 4, 3]], [[3, 4, 5], [0, 1, 2]], [[5, 4, 3], [2, 1, 0]]],
    )


def test_without_labels_it_learns_orientations(tmp_path, monkeypatch):
    """Images that are brightest at their upper left, whose orientation shows."""
    rng = np.random.default_rng(0)
    slope = 12 - np.add.outer(np.arange(6), np.arange(6))[..., None]

    def split(n):
        return Split((slope + rng.integers(0, 4, (n, 6, 6, 1))).astype(np.uint8))

    info = DatasetInfo("slopes", (6, 6, 1), 16, {"train": 200, "validation": 50, "test": 1}, 0, "made up")
    monkeypatch.setattr(classifier, "MOST_STEPS", 60)
    extractor = open_extractor("classifier", TuningData(info, "cd" * 32, split(200), split(50)), tmp_path)
    assert "4 orientations, self-supervised (seed 0, 100.0 % on validation" in extractor.description
    assert extractor.accuracy == Accuracy(value=1.0, standard_error=0.0, chance=0.25, n=50)


def test_an_accuracy_near_chance_is_a_measurement_of_the_run(tmp_path, short):
    """Noise has no orientation: what the classifier predicts of it is right one time in four."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 17, (400, 6, 6, 1)).astype(np.uint8))
    info = DatasetInfo("noise", (6, 6, 1), 17, {"train": 400, "validation": 400, "test": 400}, 0, "made up")
    extractor = open_extractor("classifier", TuningData(info, "ef" * 32, split, split), tmp_path)
    accuracy, chance = extractor.accuracy.measurements(extractor.description)
    assert (accuracy.key, chance.key) == ("quality/extractor_accuracy", "quality/extractor_chance")
    assert (accuracy.n, chance.n, chance.value) == (400, 400, 0.25)
    assert abs(accuracy.value - chance.value) < 4 * accuracy.standard_error
    assert {accuracy.metric, chance.metric} <= METRICS.keys()


def test_other_labels_of_the_same_images_are_another_task(tmp_path, short):
    first = noise((6, 6, 1), 17, 3)
    relabelled = replace(first, train=replace(first.train, labels=first.train.labels[::-1]))
    unlabelled = replace(first, train=replace(first.train, labels=None), info=replace(first.info, classes=0))
    found = [
        open_extractor("classifier", each, tmp_path).description for each in (first, relabelled, unlabelled, first)
    ]
    assert len(set(found)) == 3
    assert found[3] == found[0]


def test_a_damaged_classifier_is_named_with_the_way_out(tmp_path, short):
    data = noise((8, 8, 1), 17)
    open_extractor("classifier", data, tmp_path)
    weights_file, record_file = (next(tmp_path.glob(f"*.{ending}")) for ending in ("npz", "json"))
    whole, record = weights_file.read_bytes(), json.loads(record_file.read_text())
    with np.load(weights_file, allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]

    def refused(reason, of=data):
        with pytest.raises(DataError, match=rf"{weights_file.name} cannot be used: .*{reason}.*Delete it and .*json"):
            open_extractor("classifier", of, tmp_path)

    weights_file.write_bytes(whole[:-200])
    refused("")
    weights_file.write_bytes(b"")
    refused("")
    weights[0][0, 0, 0, 0] += 1e-3
    np.savez(weights_file, *weights)
    refused("not those that were recorded")
    np.savez(weights_file, *weights[:-1])
    refused("other shapes")
    np.savez(weights_file, np.array([print], dtype=object))
    refused("")
    weights_file.write_bytes(whole)
    refused("other data", of=noise((8, 8, 1), 17, digest="ab" * 6 + "f" * 52))
    for text in ("{", "[]", "7", "[" * 100_000, "\0"):
        record_file.write_text(text)
        refused("")
    accuracy = record["accuracy"]
    for changes in (
        {"surplus": 1},
        {"accuracy": accuracy | {"value": 0.999}},
        {"accuracy": accuracy | {"value": "high"}},
        {"task": "9 classes"},
        {"seed": 7},
        {"weights_digest": "0" * 64},
        {"record_digest": "0" * 64},
    ):
        record_file.write_text(json.dumps(record | changes))
        refused("its record was altered")
    record_file.write_text(json.dumps(record))
    open_extractor("classifier", data, tmp_path)


def test_a_classifier_of_earlier_versions_whose_record_has_no_digest_is_used(tmp_path, short, monkeypatch):
    data = noise((8, 8, 1), 17)
    description = open_extractor("classifier", data, tmp_path).description
    (record_file,) = tmp_path.glob("*.json")
    record = json.loads(record_file.read_text())
    del record["record_digest"]
    record_file.write_text(json.dumps(record, indent=2) + "\n")

    def train(*arguments):
        pytest.fail("it is trained again")

    monkeypatch.setattr(classifier, "_train", train)
    assert open_extractor("classifier", data, tmp_path).description == description
    assert record_file.name.startswith("classifier-v2-")
    assert record["architecture"] == 2


def test_a_link_in_place_of_its_lock_is_named(tmp_path, short):
    data = noise((8, 8, 1), 17)
    open_extractor("classifier", data, tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    lock.symlink_to(lock)
    with pytest.raises(LockFileError, match=rf"{lock.name} is a symbolic link.*remove it"):
        open_extractor("classifier", data, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, short):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be kept in .*file"):
        open_extractor("classifier", noise((4, 4, 1), 2), tmp_path / "file")


def test_an_unknown_extractor_is_named_with_those_that_exist(tmp_path, tuning):
    with pytest.raises(SettingsError, match="'vgg' is unknown: one of classifier, inception_v3"):
        open_extractor("vgg", tuning, tmp_path)
