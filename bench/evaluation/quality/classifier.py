"""Features of a small classifier, trained on the data set's own training split and cached.

Networks pre-trained on photographs do not suit 8 x 8 digits or binary images, and would have to be downloaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from bench.core.blocks import independent
from bench.core.digests import json_digest
from bench.core.errors import DataError
from bench.core.file_locks import locked
from bench.core.files import replacing, write_file
from bench.core.sequences import Kind
from bench.data.dataset import Images, Labels, Split, TuningData
from bench.data.npz_archive import ArrayFile
from bench.evaluation.quality.accuracy import Accuracy
from bench.evaluation.quality.network import NetworkExtractor, scale, weights_digest

ARCHITECTURE = 2
"""Version of the network and its training: part of the file name, so that no other one is loaded."""
FEATURES = 64
SEED = 0
EPOCHS = 12
MOST_STEPS = 600
"""Training ends after 12 epochs or this many steps, whichever comes first."""
TRAINING_BATCH = 64
LEARNING_RATE = 4e-3
BATCH_SIZE = 256
"""Batch size of extracting features."""
MOST_VALIDATION = 2_000
"""Validation images that the accuracy is measured on."""
ORIENTATIONS = 4

Weights = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class _Record:
    """The metadata beside the weights."""

    architecture: int
    data_digest: str
    task: str
    seed: int
    accuracy: Accuracy
    weights_digest: str
    trained_with: str


def open_classifier(data: TuningData, folder: Path) -> NetworkExtractor:
    """The 64 features before the output layer of a small convolutional network that was trained on ``data``.

    It predicts the class labels of the training split; where the data has none, it predicts which of four
    shape-preserving orientations (unchanged, flipped left-right, up-down, or both) an image has (self-supervision after
    Gidaris et al. 2018). It is trained once and cached in ``folder``, as weights (.npz) and a record (.json); then
    every run, on either backend, uses the same weights. It neither uses nor changes the global random states of Keras
    and NumPy.

    Raises:
        DataError: the cached classifier is damaged or belongs to other data, or cannot be written.
    """
    with_labels = _has_labels(data)
    outputs = data.info.classes if with_labels else ORIENTATIONS
    task = f"{outputs} classes" if with_labels else f"{ORIENTATIONS} orientations, self-supervised"
    stem = _stem(data, folder)
    weights_file, record_file = _files(stem)
    features, classifier = _networks(data.info.image_shape, outputs, data.info.kind)
    # The first of several workers trains it, while the others wait.
    with _locked(stem):
        if weights_file.exists() and record_file.exists():
            weights, record = _load(weights_file, record_file, classifier, data.digest)
            classifier.set_weights(weights)
        else:
            _train(classifier, data, with_labels)
            weights = classifier.get_weights()
            record = _Record(
                architecture=ARCHITECTURE,
                data_digest=data.digest,
                task=task,
                seed=SEED,
                accuracy=_accuracy(classifier, data, with_labels),
                weights_digest=weights_digest(weights),
                trained_with=f"keras {keras.__version__} on {keras.backend.backend()}",
            )
            _save(weights_file, record_file, weights, record)
    return NetworkExtractor(
        name="classifier",
        description=f"classifier of {record.task} (seed {record.seed}, "
        f"{100 * record.accuracy.value:.1f} % on validation, weights {record.weights_digest[:8]})",
        network=features,
        grey_levels=data.info.grey_levels,
        batch_size=BATCH_SIZE,
        accuracy=record.accuracy,
    )


def is_cached(data: TuningData, folder: Path) -> bool:
    """Whether :func:`open_classifier` would find a trained classifier, damaged or not.

    Raises:
        DataError: none could be cached there.
    """
    stem = _stem(data, folder)
    _make_folder(stem)
    return all(file.exists() for file in _files(stem))


def _stem(data: TuningData, folder: Path) -> Path:
    """The path of the cached files, without their suffixes."""
    # The digest of the data is of its pixels: labels may come later, or change.
    predicted = _labels_digest(data) if _has_labels(data) else "orientations"
    return folder / f"classifier-v{ARCHITECTURE}-{data.digest[:12]}-{predicted}"


def _files(stem: Path) -> tuple[Path, Path]:
    """The weights and their record."""
    return stem.with_suffix(".npz"), stem.with_suffix(".json")


def _has_labels(data: TuningData) -> bool:
    return data.info.classes >= 2 and data.train.labels is not None and data.validation.labels is not None


def _labels_digest(data: TuningData) -> str:
    digest = hashlib.sha256()
    for split in (data.train, data.validation):
        digest.update(np.asarray(split.labels, np.int64).tobytes() + b" ")
    return digest.hexdigest()[:8]


def _networks(image_shape: tuple[int, int, int], outputs: int, kind: Kind) -> tuple[keras.Model, keras.Model]:
    """Images (n, h, w, c) in [-1, 1] -> features (n, 64); and -> logits (n, outputs), by the same layers.

    Convolutions halve the image until its smaller side, or the length of a sound, is at most 4. SiLU, as dead ReLU
    units would be constant features and make covariances singular.
    """
    # Single precision under any policy; NumPy draws the weights later.
    plain = {"dtype": "float32", "kernel_initializer": "zeros"}

    def convolution(channels: int, stride: int) -> keras.layers.Layer:
        return keras.layers.Conv2D(channels, 3, strides=stride, padding="same", activation="silu", **plain)

    height, width, _ = image_shape
    side = width if kind == "audio" else min(height, width)
    stride = 1 if side < 16 else 2
    images = keras.Input(image_shape, dtype="float32", name="images")
    x = convolution(32, stride)(images)
    side = -(-side // stride)
    while side > 4:
        x = convolution(32, 2)(x)
        side = -(-side // 2)
    x = convolution(64, 1)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
    features = keras.layers.Dense(FEATURES, activation="silu", **plain)(x)
    logits = keras.layers.Dense(outputs, **plain)(features)
    return keras.Model(images, features, name="features"), keras.Model(images, logits, name="classifier")


def _initialise(classifier: keras.Model) -> None:
    """Normal weights of variance 2 / inputs (He et al. 2015), the same on every backend; biases of 0."""
    rng = np.random.RandomState(SEED)
    shapes = [tuple(weight.shape) for weight in classifier.weights]
    classifier.set_weights(
        [
            rng.normal(scale=np.sqrt(2 / np.prod(shape[:-1])), size=shape) if len(shape) > 1 else np.zeros(shape)
            for shape in shapes
        ]
    )


def _train(classifier: keras.Model, data: TuningData, with_labels: bool) -> None:
    _initialise(classifier)
    steps = min(MOST_STEPS, EPOCHS * -(-len(data.train) // TRAINING_BATCH))
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    classifier.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    # TensorFlow traces a step that creates the optimizer's variables twice.
    classifier.optimizer.build(classifier.trainable_variables)
    batches = _batches(data.train, data.info.grey_levels, steps, with_labels)
    classifier.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)


def _batches(
    split: Split, grey_levels: int, steps: int, with_labels: bool
) -> Iterator[tuple[npt.NDArray[np.float32], Labels]]:
    """One random permutation of the split after the other, cut into batches."""
    rng = np.random.RandomState(SEED)
    waiting = np.empty(0, dtype=np.intp)
    for _ in range(steps):
        while len(waiting) < TRAINING_BATCH:
            waiting = np.concatenate([waiting, rng.permutation(len(split))])
        chosen, waiting = waiting[:TRAINING_BATCH], waiting[TRAINING_BATCH:]
        images = split.images[chosen]
        if with_labels and split.labels is not None:
            yield scale(images, grey_levels), split.labels[chosen]
        else:
            orientations = rng.randint(ORIENTATIONS, size=len(images))
            yield scale(orient(images, orientations), grey_levels), orientations


def orient(images: Images, orientations: Labels) -> Images:
    """Images (n, h, w, c) in orientations (n,): 0 unchanged, 1 flipped left-right, 2 up-down, 3 both."""
    across = np.where((orientations % 2 == 1)[:, None, None, None], images[:, :, ::-1], images)
    return np.where((orientations >= 2)[:, None, None, None], across[:, ::-1], across)


def _accuracy(classifier: keras.Model, data: TuningData, with_labels: bool) -> Accuracy:
    """How many validation images are classified correctly, in every orientation where those are the task."""
    validation = data.validation.some(MOST_VALIDATION, data.info.kind)
    images, truth, n = validation.images, validation.labels, len(validation)
    if not with_labels or truth is None:
        truth = np.repeat(np.arange(ORIENTATIONS), n)
        images = orient(np.concatenate([images] * ORIENTATIONS), truth)
    program = NetworkExtractor("classifier", "", classifier, data.info.grey_levels, BATCH_SIZE)
    # An image's orientations are not independent of each other: it counts as one.
    correct = (program.features(images).argmax(1) == truth).reshape(-1, n).mean(axis=0)
    own = independent(correct, data.info.kind)
    return Accuracy(
        value=float(correct.mean()),
        standard_error=float(own.std(ddof=1) / np.sqrt(len(own))),
        chance=float(np.bincount(truth).max() / len(truth)),
        n=n,
    )


def _record_digest(written: Mapping[str, Any]) -> str:
    """SHA-256 of a record as it is written, without its own digest."""
    return json_digest(written)


def _make_folder(stem: Path) -> None:
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the classifier cannot be kept in {stem.parent}: {error}.") from error


@contextmanager
def _locked(stem: Path) -> Iterator[None]:
    """Lock against other processes."""
    _make_folder(stem)
    with locked(stem.with_suffix(".lock")):
        yield


def _save(weights_file: Path, record_file: Path, weights: Weights, record: _Record) -> None:
    """Write the weights first: if there is a record, there are its weights."""
    written = asdict(record)
    text = json.dumps(written | {"record_digest": _record_digest(written)}, indent=2) + "\n"
    try:
        with replacing(weights_file) as unfinished, unfinished.open("wb") as file:
            np.savez(file, *weights)
        write_file(record_file, text)
    except OSError as error:
        raise DataError(f"the classifier cannot be kept in {weights_file.parent}: {error}.") from error


def _load(weights_file: Path, record_file: Path, classifier: keras.Model, data_digest: str) -> tuple[Weights, _Record]:
    try:
        written = json.loads(record_file.read_text())
        # Earlier versions wrote none: what they trained is kept, as studies have used it.
        digest = written.pop("record_digest", None)
        if digest is not None and digest != _record_digest(written):
            raise ValueError("its record was altered")
        record = _Record(**{**written, "accuracy": Accuracy(**written["accuracy"])})
        if record.data_digest != data_digest:
            raise ValueError("it was trained on other data")
        with ArrayFile(weights_file) as archive:
            headers = [archive.header(name) for name in archive.names]
            if [header.shape for header in headers] != [tuple(weight.shape) for weight in classifier.weights]:
                raise ValueError("its weights have other shapes")
            weights = [archive.read(name).astype(np.float32, copy=False) for name in archive.names]
        if weights_digest(weights) != record.weights_digest:
            raise ValueError("its weights are not those that were recorded")
    except (DataError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"the cached classifier {weights_file} cannot be used: {error}. Delete it and {record_file.name} to train "
            "it again (metrics by the old one do not compare with those by the new one)."
        ) from error
    return weights, record
