"""Reference codes: every one gives the same pixels back, and its size is that of the pixels alone."""

from __future__ import annotations

import importlib.util
import itertools
import lzma
import math
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest

from bench.core.metrics import CODES, METRICS, REFERENCE_MODEL_CODE
from bench.core.results import REFERENCE_CODES
from bench.data.choice import fixed_choice
from bench.evaluation import reference_codes
from bench.evaluation.image_formats import bits_per_value, formats, packed
from bench.evaluation.reference_codes import compressed, flac_size, histogram_bits, measure_reference_codes

HAS_JPEG_XL = importlib.util.find_spec("imagecodecs") is not None
OF_LINES = ("code_bzip2", "code_ngram", "code_flac")
LEVELS = (2, 3, 4, 5, 6, 16, 17, 200, 256, 257, 4096, 65536)


def some_images(levels, channels, n=4, height=5, width=7, seed=0):
    """Images that hold the lowest and the highest value, and neighbours that are alike."""
    rng = np.random.default_rng([seed, levels, channels])
    images = np.minimum(np.abs(rng.normal(0, levels / 5, (n, height, width, channels))), levels - 1)
    images = images.astype(np.uint16 if levels > 256 else np.uint8)
    images[:, 0, 0], images[:, 0, 1], images[:, 1] = 0, levels - 1, images[:, 0]
    return images


def png_head(content):
    """Bit depth and colour type of a PNG file."""
    return struct.unpack_from(">BB", content, 24)


@pytest.mark.parametrize(("levels", "channels"), list(itertools.product(LEVELS, (1, 2, 3, 4, 5))))
def test_every_format_gives_the_same_pixels_back_whichever_way_it_is_written(levels, channels):
    images = some_images(levels, channels)
    able, reasons = formats(images.shape[1:], levels)
    assert {each.metric for each in able} | set(reasons) == {"code_png", "code_webp", "code_jpeg_xl"}
    for form, image in itertools.product(able, images):
        files = form.write(image)
        assert files
        for content in files:
            assert np.array_equal(form.read(content), image)
            assert 0 < form.payload(content) <= len(content)


@pytest.mark.parametrize(
    ("levels", "channels", "known"),
    [(2, 1, {"code_png", "code_webp"}), (17, 1, {"code_png", "code_webp"}), (256, 1, {"code_png", "code_webp"}),
     (2, 3, {"code_png", "code_webp"}), (17, 3, {"code_png", "code_webp"}), (256, 3, {"code_png", "code_webp"}),
     (256, 4, {"code_png", "code_webp"}), (4096, 1, {"code_png"}), (4096, 3, set()), (256, 5, set())],
)  # fmt: skip
def test_images_that_a_format_cannot_hold_are_named_with_the_reason(levels, channels, known):
    able, reasons = formats((5, 7, channels), levels)
    assert {each.metric for each in able} - {"code_jpeg_xl"} == known
    for metric in {"code_png", "code_webp"} - known:
        assert f"{levels:,} grey levels" in reasons[metric]


def test_an_image_wider_than_webp_takes_is_not_written():
    able, reasons = formats((2, 16384, 1), 256)
    assert "code_webp" not in {each.metric for each in able}
    assert "16384 x 2 pixels" in reasons["code_webp"]


@pytest.mark.parametrize(
    ("levels", "channels", "head"),
    [(2, 1, (1, 0)), (3, 1, (2, 3)), (16, 1, (4, 3)), (17, 1, (8, 0)), (256, 1, (8, 0)), (257, 1, (16, 0)),
     (2, 3, (4, 3)), (6, 3, (8, 3)), (7, 3, (8, 2)), (256, 2, (8, 4)), (256, 4, (8, 6))],
)  # fmt: skip
def test_png_has_the_least_bit_depth_or_a_palette_of_all_colours(levels, channels, head):
    (png,) = [each for each in formats((5, 7, channels), levels)[0] if each.metric == "code_png"]
    for content in png.write(some_images(levels, channels)[0]):
        assert png_head(content) == head


def test_of_a_png_the_deflated_data_count_and_of_webp_what_follows_its_header():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    known = {each.metric: each for each in formats(image.shape, 256)[0]}
    # Noise cannot be compressed: the data are the pixels, a filter's byte each row, and some bytes of block heads.
    png = min(map(known["code_png"].payload, known["code_png"].write(image)))
    assert image.size + 40 <= png <= image.size + 40 + 20
    (content,) = known["code_webp"].write(image)
    # RIFF and its chunk's head are 20 bytes, signature, sides and version 5, and a chunk of odd length is padded.
    assert known["code_webp"].payload(content) in (len(content) - 25, len(content) - 26)


@pytest.mark.skipif(HAS_JPEG_XL, reason="imagecodecs is installed")
def test_without_its_library_jpeg_xl_is_left_out_and_named(digits):
    found = measure_reference_codes(digits.open_test().images, digits.tuning.train.images, 17)
    assert "pip install -e '.[codecs]'" in found.unavailable["code_jpeg_xl"]
    assert "code_jpeg_xl" not in {each.metric for each in found.measured}


@pytest.mark.skipif(not HAS_JPEG_XL, reason="imagecodecs is not installed")
def test_jpeg_xl_is_a_bare_codestream():
    (form,) = [each for each in formats((5, 7, 1), 17)[0] if each.metric == "code_jpeg_xl"]
    (content,) = form.write(some_images(17, 1)[0])
    assert content.startswith(b"\xff\x0a")
    assert form.payload(content) == len(content)


def unpacked(content, shape, values):
    """The images of a shape that ``content`` was packed of."""
    bits, count = bits_per_value(values), math.prod(shape)
    if bits >= 8:
        return np.frombuffer(content, f">u{bits // 8}")[:count].reshape(shape)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    found = np.frombuffer(content, np.uint8)[:, None] >> shifts & ((1 << bits) - 1)
    return found.reshape(-1)[:count].reshape(shape)


@pytest.mark.parametrize(("values", "bits"), [(2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8), (257, 16)])
def test_values_are_packed_with_the_bits_that_they_need(values, bits):
    assert bits_per_value(values) == bits
    images = some_images(values, 3)
    content = packed(images, values)
    assert len(content) == math.ceil(images.size * bits / 8)
    assert np.array_equal(unpacked(content, images.shape, values), images)


def test_the_first_value_stands_in_the_high_bits():
    assert packed(np.array([1, 0, 1, 1, 0, 0, 0, 0, 1]), 2) == bytes([0b10110000, 0b10000000])
    assert packed(np.array([1, 15, 2]), 16) == bytes([0x1F, 0x20])
    assert packed(np.array([1, 0x1234]), 65536) == bytes([0, 1, 0x12, 0x34])


@pytest.mark.parametrize("size", [0, 1, 5000, 100_000])
def test_xz_gives_the_same_bytes_back_and_has_no_header(size):
    content = np.random.default_rng(0).integers(0, 3, size, dtype=np.uint8).tobytes()
    small = compressed(content)
    assert lzma.decompress(small, lzma.FORMAT_RAW, filters=reference_codes._filters(size)) == content
    assert not small.startswith(b"\xfd7zXZ")
    assert len(small) <= 0.25 * size + 300


def test_the_histogram_is_that_of_each_pixel_with_one_added(digits):
    train, test = digits.tuning.train.images, digits.open_test().images
    found = histogram_bits(test, train, 17)
    expected = np.zeros(len(test))
    for image, row in enumerate(test):
        for place in np.ndindex(row.shape):
            seen = np.sum(train[(slice(None), *place)] == row[place])
            expected[image] -= math.log2((seen + 1) / (len(train) + 17))
    assert found == pytest.approx(expected)


def test_the_histogram_is_a_distribution():
    train = some_images(3, 1, n=5, height=2, width=2)
    every = np.array(list(itertools.product(range(3), repeat=4)), dtype=np.uint8).reshape(-1, 2, 2, 1)
    assert np.sum(2.0 ** -histogram_bits(every, train, 3)) == pytest.approx(1.0)


@pytest.mark.parametrize(("levels", "channels"), [(2, 1), (17, 1), (256, 3)])
def test_all_codes_are_measured_on_the_test_images_with_an_error_over_them(levels, channels):
    test, train = some_images(levels, channels, n=30), some_images(levels, channels, n=50, seed=1)
    found = measure_reference_codes(test, train, levels)
    known = {each.metric: each for each in found.measured}
    # The PixelCNN is trained: bench.execution.reference_model.
    assert set(known) | set(found.unavailable) == set(CODES) - {REFERENCE_MODEL_CODE, *OF_LINES}
    assert set(CODES) <= set(METRICS)
    assert {"code_uniform", "code_pixel_histogram", "code_png", "code_webp", "code_xz"} <= set(known)
    assert {(each.split, each.n, each.conditions) for each in known.values()} == {(REFERENCE_CODES, 30, "")}
    assert known["code_uniform"].value == math.log2(levels)
    assert known["code_uniform"].standard_error == 0.0
    bits = histogram_bits(test, train, levels) / test[0].size
    assert known["code_pixel_histogram"].value == pytest.approx(bits.mean())
    assert known["code_pixel_histogram"].standard_error == pytest.approx(bits.std(ddof=1) / math.sqrt(30))
    for metric, name in (("code_png", "code_png"), ("code_webp", "code_webp")):
        (form,) = [each for each in formats(test.shape[1:], levels)[0] if each.metric == name]
        sizes = [8 * min(map(form.payload, form.write(image))) / image.size for image in test]
        assert known[metric].value == pytest.approx(np.mean(sizes))
        assert known[metric].standard_error == pytest.approx(np.std(sizes, ddof=1) / math.sqrt(30))
    assert known["code_xz"].value == 8 * len(compressed(packed(test, levels))) / test.size
    assert known["code_xz"].standard_error is None


def test_of_many_images_a_fixed_choice_is_written_which_the_conditions_say(monkeypatch):
    test, train = some_images(17, 1, n=40), some_images(17, 1, n=10, seed=1)
    monkeypatch.setattr(reference_codes, "MOST_VALUES_IN_FILES", 11 * test[0].size + 3)
    monkeypatch.setattr(reference_codes, "MOST_VALUES_IN_ONE_PIECE", 20 * test[0].size)
    known = {each.metric: each for each in measure_reference_codes(test, train, 17).measured}
    assert known["code_pixel_histogram"].n == known["code_uniform"].n == 40
    assert (known["code_png"].n, known["code_png"].conditions) == (11, "on 11 of the 40 test images")
    assert (known["code_xz"].n, known["code_xz"].conditions) == (20, "on 20 of the 40 test images")
    few = {each.metric: each for each in measure_reference_codes(fixed_choice(test, 11), train, 17).measured}
    assert few["code_png"].value == known["code_png"].value
    monkeypatch.setattr(reference_codes, "MOST_VALUES_IN_FILES", 1)
    assert {each.n for each in measure_reference_codes(test, train, 17).measured if each.metric == "code_webp"} == {2}


def test_a_format_that_loses_pixels_is_no_code(monkeypatch):
    def lossy(shape, grey_levels):
        able, reasons = formats(shape, grey_levels)
        return [replace(each, read=lambda content: np.zeros(shape, np.uint8)) for each in able[:1]], reasons

    monkeypatch.setattr(reference_codes, "formats", lossy)
    found = measure_reference_codes(some_images(17, 1), some_images(17, 1), 17)
    assert found.unavailable["code_png"] == "ValueError: a file does not give back the pixels that it was written of"
    assert "code_png" not in {each.metric for each in found.measured}


def test_a_library_that_fails_costs_its_code_alone(monkeypatch):
    def broken(image):
        raise OSError("encoder error -2")

    def failing(shape, grey_levels):
        able, reasons = formats(shape, grey_levels)
        return [replace(each, write=broken) if each.metric == "code_webp" else each for each in able], reasons

    monkeypatch.setattr(reference_codes, "formats", failing)
    found = measure_reference_codes(some_images(17, 1), some_images(17, 1), 17)
    assert found.unavailable["code_webp"] == "OSError: encoder error -2"
    assert {"code_png", "code_xz"} <= {each.metric for each in found.measured}


def test_it_ends_where_a_stop_is_requested():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_reference_codes(some_images(17, 1), some_images(17, 1), 17, check=stop)


def test_a_single_image_has_no_error():
    found = measure_reference_codes(some_images(17, 1, n=1), some_images(17, 1), 17)
    assert {each.metric for each in found.measured if each.standard_error is not None} == {"code_uniform"}


def test_flac_is_the_frames_of_a_file_and_unordered_levels_cost_it_more():
    pytest.importorskip("soundfile", reason="soundfile is not installed")
    time = np.arange(20_000)
    levels = np.rint(128 + 100 * np.sin(time / 9)).astype(np.uint8)
    noise = np.random.RandomState(0).randint(0, 256, 20_000).astype(np.uint8)
    # Noise cannot be coded: its frames are a little longer than its samples.
    assert 20_000 <= flac_size(noise) <= 20_200
    assert flac_size(levels) < 0.5 * flac_size(noise)
    test = levels.reshape(100, 1, 200, 1)
    known = {each.metric: each for each in measure_reference_codes(test, test, 256, "audio").measured}
    assert known["code_flac"].value == 8 * flac_size(levels) / 20_000
    assert known["code_flac"].standard_error is None
    assert "code_png" not in known


def test_without_its_library_flac_is_left_out_and_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    found = measure_reference_codes(*[np.zeros((3, 1, 8, 1), np.uint8)] * 2, 256, "audio")
    assert "pip install -e '.[audio]'" in found.unavailable["code_flac"]
    assert {"code_xz", "code_bzip2", "code_ngram"} <= {each.metric for each in found.measured}


def test_of_text_flac_is_not_measured_and_not_missed():
    found = measure_reference_codes(*[np.zeros((3, 1, 8, 1), np.uint8)] * 2, 30, "text")
    assert "code_flac" not in {each.metric for each in found.measured} | set(found.unavailable)
