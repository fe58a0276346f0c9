"""Reference codes: what codes that are no models of the study take for its test images, in bits/dim.

Of images these are file formats and a general compressor; of text and sound two general compressors and an n-gram, and
of sound FLAC.

A model's bits/dim is the length of an ideal code. What 2.1 bits/dim mean is seen beside codes that everybody has: file
formats for images, a general compressor, the histogram of each pixel, and no knowledge at all. They are measured on
the very images that final runs are measured on, or on a fixed choice of these where that would take minutes.
"""

from __future__ import annotations

import bz2
import io
import logging
import lzma
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.core.blocks import independent
from bench.core.results import REFERENCE_CODES, Measurement, ReferenceCodes
from bench.core.sequences import Kind
from bench.data.choice import fixed_choice
from bench.data.dataset import Images
from bench.evaluation.image_formats import ImageFormat, formats, packed
from bench.evaluation.ngrams import ORDER, ngram_bits

log = logging.getLogger(__name__)

MOST_VALUES_IN_FILES = 2**20
"""Largest number of pixels' values that each image format writes: seconds, as WebP takes 6 µs for one."""
MOST_VALUES_IN_ONE_PIECE = 2**23
"""Largest number of values that xz compresses at once: seconds, and 11 times its bytes in memory."""
FEWEST_IMAGES = 2
"""Number of images that are written, however large: fewer have no standard error."""
_ANY_RATE = 8000
"""The sample rate that is written into a FLAC file; its size does not depend on it."""
_SMALLEST_DICTIONARY = 4096
"""Bytes; the least that LZMA2 takes."""


def measure_reference_codes(
    test: Images, train: Images, grey_levels: int, kind: Kind = "image", check: Callable[[], None] = lambda: None
) -> ReferenceCodes:
    """Measure all reference codes that data of this kind has.

    Args:
        test: the images (n, h, w, c) in 0..grey_levels-1 that final runs are measured on.
        train: training images, of which the histograms are counted.
        grey_levels: Q, the number of values that a pixel's channel can take.
        kind: what the images are.
        check: called between images; what it raises ends the measurement.
    """
    few = _some(test, MOST_VALUES_IN_FILES, kind)
    able, unavailable = formats(test.shape[1:], grey_levels) if kind == "image" else ([], {})
    measured = [
        Measurement(REFERENCE_CODES, "code_uniform", math.log2(grey_levels), 0.0, len(test)),
        _measurement("code_pixel_histogram", histogram_bits(test, train, grey_levels), test, kind),
    ]
    for each in able:
        try:
            measured.append(_measurement(each.metric, _file_bits(each, few, check), test, kind))
        except (OSError, RuntimeError, ValueError) as error:
            # A library that fails costs its code, and not the report of a study that is done.
            log.warning("%s is not measured", each.metric, exc_info=True)
            unavailable[each.metric] = f"{type(error).__name__}: {error}"
    check()
    piece = _some(test, MOST_VALUES_IN_ONE_PIECE, kind)
    content, about = packed(piece, grey_levels), share_of_test(piece, test)
    sizes = {"code_xz": len(compressed(content))}
    if kind != "image":
        sizes["code_bzip2"] = len(bz2.compress(content))
        check()
        lines, known = (
            images.reshape(len(images), -1) for images in (piece, _some(train, MOST_VALUES_IN_ONE_PIECE, kind))
        )
        order = min(ORDER, int(64 / math.log2(grey_levels)))
        measured.append(_measurement("code_ngram", ngram_bits(lines, known, grey_levels, order), test, kind))
    if kind == "audio":
        try:
            sizes["code_flac"] = flac_size(piece.reshape(-1))
        except (ImportError, OSError) as error:
            unavailable["code_flac"] = f"FLAC needs the library soundfile, pip install -e '.[audio]' ({error})"
        except (RuntimeError, ValueError) as error:
            log.warning("code_flac is not measured", exc_info=True)
            unavailable["code_flac"] = f"{type(error).__name__}: {error}"
    for metric, size in sizes.items():
        measured.append(Measurement(REFERENCE_CODES, metric, 8 * size / piece.size, None, len(piece), conditions=about))
    return ReferenceCodes(measured, unavailable)


def histogram_bits(test: Images, train: Images, grey_levels: int) -> npt.NDArray[np.float64]:
    """Bits of each image (n,) under Π_d P_d(x_d), P_d(v) = (N_d(v) + 1) / (N + Q): Laplace's rule of succession.

    N_d(v) is the number of the N training images with the value v in dimension d.
    """
    # A dimension at a time: with all, the counts of large images of many grey levels would not fit into memory.
    own, others = (images.reshape(len(images), -1) for images in (test, train))
    total = math.log2(len(train) + grey_levels)
    bits = np.zeros(len(test))
    for dimension in range(own.shape[1]):
        counts = np.bincount(others[:, dimension], minlength=grey_levels)
        bits += total - np.log2(counts + 1.0)[own[:, dimension]]
    return bits


def compressed(content: bytes) -> bytes:
    """Bytes compressed by LZMA2 at its extreme preset, without the header of a file."""
    return lzma.compress(content, lzma.FORMAT_RAW, filters=_filters(len(content)))


def flac_size(levels: npt.NDArray[np.integer]) -> int:
    """Bytes of the frames of a FLAC file whose samples, of 8 bits, are the levels (n,) in 0..255.

    Raises:
        ImportError, OSError: soundfile, or its C library, is not installed.
        ValueError: the file does not give the levels back.
    """
    import soundfile

    # libsndfile takes 16 bits, of which a file of 8 has the upper ones.
    samples = ((levels.astype(np.int32) - 128) << 8).astype(np.int16)
    with io.BytesIO() as file:
        soundfile.write(file, samples, _ANY_RATE, subtype="PCM_S8", format="FLAC", compression_level=1.0)
        content = file.getvalue()
    again, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    if not np.array_equal(again, samples):
        raise ValueError("a FLAC file does not give back the levels that it was written of")
    # After the signature come blocks of metadata, each with its length behind a byte whose highest bit marks the last.
    start, is_last = 4, False
    while not is_last:
        is_last = bool(content[start] & 0x80)
        start += 4 + int.from_bytes(content[start + 1 : start + 4], "big")
    return len(content) - start


def _filters(size: int) -> list[dict[str, int]]:
    # No larger than the content: the dictionary of the preset alone takes 674 MiB.
    dictionary = max(_SMALLEST_DICTIONARY, size)
    return [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]


def _file_bits(form: ImageFormat, images: Images, check: Callable[[], None]) -> npt.NDArray[np.float64]:
    """Bits of each image (n,) in its smallest file.

    Raises:
        ValueError: a file does not give its image back.
    """
    sizes = []
    for image in images:
        check()
        smallest = min(form.write(image), key=form.payload)
        if not np.array_equal(form.read(smallest), image):
            raise ValueError("a file does not give back the pixels that it was written of")
        sizes.append(8.0 * form.payload(smallest))
    return np.array(sizes)


def _some(images: Images, values: int, kind: Kind) -> Images:
    """The images, or a fixed choice of so few that they have no more than ``values`` values; of windows the first."""
    if images.size <= values:
        return images
    number = max(FEWEST_IMAGES, values // images[0].size)
    return fixed_choice(images, number) if kind == "image" else images[:number]


def share_of_test(used: npt.NDArray[np.generic], test: Images) -> str:
    """How many of the test images were used, where not all were."""
    return "" if len(used) == len(test) else f"on {len(used):,} of the {len(test):,} test images"


def _measurement(metric: str, bits: npt.NDArray[np.float64], test: Images, kind: Kind) -> Measurement:
    values = bits / test[0].size
    own = independent(values, kind)
    error = float(np.std(own, ddof=1) / math.sqrt(len(own))) if len(own) > 1 else None
    return Measurement(
        REFERENCE_CODES, metric, float(values.mean()), error, len(values), conditions=share_of_test(bits, test)
    )
