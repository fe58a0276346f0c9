"""Lossless image formats: an image as a file, the bytes of it that hold pixels, and the image back from the file.

Integer images (h, w, c) in 0..grey_levels-1 are written as they are, without scaling. :func:`formats` gives those that
can hold the images of a data set and says why the others cannot.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.integer]
"""One image (h, w, c) in 0..grey_levels-1."""
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""What a format calls images of 8 bits by their number of channels."""
_DEFLATE_STRATEGIES = range(5)
"""zlib's: default, filtered, Huffman codes alone, run lengths, fixed codes."""
_ZLIB_FRAME = 6
"""Bytes of zlib's header and checksum around the deflated data of a PNG file."""
_VP8L_HEADER = 5
"""Bytes of signature, width, height and version at the start of WebP's lossless data."""
_WEBP_SIDE = 16383
"""Largest height and width of a WebP image."""


@dataclass(frozen=True)
class ImageFormat:
    """A lossless file format for the images of a data set.

    Attributes:
        metric: the metric that its size is logged as.
        write: the image as files of this format, written in different ways, each of which :attr:`read` reads.
        payload: the number of bytes in a file that hold pixels.
        read: the image of a file.
    """

    metric: str
    write: Callable[[Pixels], list[bytes]]
    payload: Callable[[bytes], int]
    read: Callable[[bytes], Pixels]


def formats(shape: tuple[int, int, int], grey_levels: int) -> tuple[list[ImageFormat], dict[str, str]]:
    """The formats that can hold images of a data set.

    Args:
        shape: (height, width, channels) of its images.
        grey_levels: number of values that a pixel's channel can take.

    Returns:
        The formats, and for each metric of the others the reason.
    """
    found, reasons = [], {}
    for metric, make in (("code_png", _png), ("code_webp", _webp), ("code_jpeg_xl", _jpeg_xl)):
        made = make(shape, grey_levels)
        if isinstance(made, str):
            reasons[metric] = made
        else:
            found.append(made)
    return found, reasons


def bits_per_value(values: int) -> int:
    """The least of 1, 2, 4, 8 and 16 bits that tells ``values`` values apart."""
    return next(bits for bits in (1, 2, 4, 8, 16) if values <= 1 << bits)


def packed(images: Pixels, grey_levels: int) -> bytes:
    """The values of images in their order, each with :func:`bits_per_value` bits, the first in a byte's high bits."""
    bits = bits_per_value(grey_levels)
    values = images.reshape(-1)
    if bits >= 8:
        return values.astype(f">u{bits // 8}").tobytes()
    per_byte = 8 // bits
    filled = np.pad(values.astype(np.uint8), (0, -len(values) % per_byte)).reshape(-1, per_byte)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    return bytes(np.bitwise_or.reduce(filled << shifts, axis=1).astype(np.uint8))


def _png(shape: tuple[int, int, int], levels: int) -> ImageFormat | str:
    """PNG at Pillow's best compression, with whichever of zlib's strategies gives the smallest file.

    Where all colours fit into 256, a pixel is the number of its colour in a palette that lists all colours there are,
    with as few bits as that takes; 1 bit for 2 grey levels. The palette is the same for all images of the data.
    """
    channels, colours = shape[2], levels ** shape[2]
    if colours <= (16 if channels == 1 else 256):
        return ImageFormat(
            "code_png", lambda image: _png_files(_indexed(image, levels)), _idat, _from_index(shape, levels)
        )
    if channels == 1 and 256 < levels <= 2**16:
        return ImageFormat("code_png", lambda image: _png_files(_deep(image)), _idat, _from_file(shape))
    if channels not in MODES or levels > 256:
        return f"PNG through Pillow holds no image of {channels} channels and {levels:,} grey levels"
    return ImageFormat("code_png", lambda image: _png_files(_picture(image)), _idat, _from_file(shape))


def _webp(shape: tuple[int, int, int], levels: int) -> ImageFormat | str:
    """WebP's lossless format at its greatest effort; it has no grey images, whose value stands in all three colours."""
    height, width, channels = shape
    if channels not in MODES or levels > 256 or max(height, width) > _WEBP_SIDE:
        return f"WebP holds no image of {width} x {height} pixels, {channels} channels and {levels:,} grey levels"
    colours = "RGB" if channels in (1, 3) else "RGBA"

    def write(image: Pixels) -> list[bytes]:
        return [_saved(_picture(image).convert(colours), "WEBP", lossless=True, quality=100, method=6, exact=True)]

    def read(content: bytes) -> Pixels:
        values = np.asarray(Image.open(io.BytesIO(content)).convert(colours))
        return values if channels >= 3 else values[..., [0, 3][:channels]]

    return ImageFormat("code_webp", write, _vp8l, read)


def _jpeg_xl(shape: tuple[int, int, int], levels: int) -> ImageFormat | str:
    """JPEG XL without loss, effort 9: a bare codestream, whose few bytes of header are among the bits of pixels."""
    try:
        import imagecodecs
    except ImportError as error:
        return f"JPEG XL needs imagecodecs ({error}): pip install -e '.[codecs]'"
    channels = shape[2]
    if channels not in MODES or levels > 2**16:
        return f"JPEG XL holds no image of {channels} channels and {levels:,} grey levels here"

    def write(image: Pixels) -> list[bytes]:
        values = np.ascontiguousarray(image, dtype=np.uint8 if levels <= 256 else np.uint16)
        squeezed = values[..., 0] if channels == 1 else values
        return [imagecodecs.jpegxl_encode(squeezed, lossless=True, effort=9, usecontainer=False, numthreads=1)]

    def read(content: bytes) -> Pixels:
        values: Pixels = imagecodecs.jpegxl_decode(content, numthreads=1).reshape(shape)
        return values

    return ImageFormat("code_jpeg_xl", write, len, read)


def _picture(image: Pixels) -> Image.Image:
    """An image of up to 8 bits a channel."""
    values = np.ascontiguousarray(image, dtype=np.uint8)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _deep(image: Pixels) -> Image.Image:
    """A grey image of up to 16 bits."""
    return Image.fromarray(np.ascontiguousarray(image[..., 0], dtype=np.uint16))


def _indexed(image: Pixels, levels: int) -> Image.Image:
    """An image whose pixels are the numbers of their colours, the channels being the digits; of 2 colours in 1 bit."""
    channels = image.shape[2]
    weights = levels ** np.arange(channels - 1, -1, -1)
    index = (image.astype(np.int64) @ weights).astype(np.uint8)
    if levels**channels == 2:
        return Image.fromarray(index.astype(bool))
    picture = Image.frombytes("P", (image.shape[1], image.shape[0]), index.tobytes())
    picture.putpalette([value for number in range(levels**channels) for value in (number, number, number)])
    return picture


def _png_files(picture: Image.Image) -> list[bytes]:
    return [_saved(picture, "PNG", optimize=True, compress_type=strategy) for strategy in _DEFLATE_STRATEGIES]


def _saved(picture: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=name, **options)
    return buffer.getvalue()


def _from_file(shape: tuple[int, int, int]) -> Callable[[bytes], Pixels]:
    return lambda content: np.asarray(Image.open(io.BytesIO(content))).reshape(shape)


def _from_index(shape: tuple[int, int, int], levels: int) -> Callable[[bytes], Pixels]:
    """Reads the numbers of colours, and the channels from them."""

    def read(content: bytes) -> Pixels:
        index = np.asarray(Image.open(io.BytesIO(content))).astype(np.int64)[..., None]
        return index // levels ** np.arange(shape[2] - 1, -1, -1) % levels

    return read


def _chunks_of_png(content: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind and the length of each chunk."""
    place = 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        yield content[place + 4 : place + 8], length
        place += 12 + length


def _idat(content: bytes) -> int:
    return sum(length for kind, length in _chunks_of_png(content) if kind == b"IDAT") - _ZLIB_FRAME


def _vp8l(content: bytes) -> int:
    """The length of WebP's lossless data without its header."""
    place = 12
    while place < len(content):
        kind, length = struct.unpack_from("<4sI", content, place)
        if kind == b"VP8L":
            return int(length) - _VP8L_HEADER
        place += 8 + length + length % 2
    raise ValueError("the WebP file holds no lossless image")
