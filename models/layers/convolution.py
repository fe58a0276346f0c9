"""The convolutions of all families, each computed, and differentiated, in the way that is fastest where it runs.

Notation: x (n, h, w, c); a kernel K (s, s, c, m) of odd size s, at zero padding and stride d, gives y (n, ⌈h/d⌉, ⌈w/d⌉,
m),

    y[p] = Σ_ij x[d·p + (i, j) - r] K[i, j],    i, j = 0..s-1,

with r as TensorFlow pads (``same``): (s - 1)/2 at stride 1. On a line, an image of height 1, the kernel is (1, s, c,
m), and the stride (1, d). There are four ways to compute it.

- Where x or y has few channels, as a product of matrices. If x has the fewer, its s² shifted copies are laid side by
  side and multiplied by K as one matrix (:func:`patches`); if y has, x is multiplied first, and the s² products are
  shifted and added (:func:`shifted_sum`). Each is the other's transpose, so that a gradient costs what its value does.
- By the backend's own convolution, with its own gradient.
- By XLA on a processor, by the backend's own convolution with a gradient of ours. A training program is a loop over its
  steps, and in a loop XLA computes the convolutions of a gradient 30 to 60 times more slowly than that of the value.
  Ours are something else that is fast: in x a transposed convolution of ∂y, in K one product of matrices.
- By XLA on a processor, where an image has fewer pixels than the kernel, as a product of matrices again: XLA would
  exchange image and kernel, and take 3 to 18 times as long (2x2 pixels of 64 to 256 channels).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from models.base.config import BatchShape
from models.base.distributions import Tensor
from models.base.processor import runs_by_xla_on_a_processor
from models.base.window import Window, pair
from models.layers.own_gradient import with_gradient

FEW_CHANNELS = 8
"""Up to so many channels of x or y a product of matrices is faster than a convolution, on either backend."""


def convolve(x: Tensor, kernel: Tensor, stride: int | Window = 1) -> Tensor:
    """K * x: (n, h, w, c) -> (n, ⌈h/d⌉, ⌈w/d⌉, m)."""
    rows, columns, channels, filters = kernel.shape
    size, strides = (rows, columns), pair(stride)
    if strides == (1, 1) and (size == (1, 1) or min(channels, filters) <= FEW_CHANNELS):
        return _as_product(x, kernel)
    if runs_by_xla_on_a_processor() and _is_small(x, size):
        return by_pixel(patches(x, size, strides), ops.reshape(kernel, (-1, filters)))

    def value(x: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv(x, kernel, strides=strides, padding="same")

    def gradient(of_y: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        return _transposed(of_y, kernel, strides, x.shape), _kernel_gradient(x, of_y, size, strides)

    return with_gradient(value, gradient, x, kernel) if runs_by_xla_on_a_processor() else value(x, kernel)


def convolve_transposed(y: Tensor, kernel: Tensor, stride: int | Window) -> Tensor:
    """The transpose of :func:`convolve` of images of a size that the stride divides.

    Args:
        y: (n, h, w, m).
        kernel: (s, s, c, m).
        stride: d.

    Returns:
        (n, d·h, d·w, c).
    """
    rows, columns, _, _ = kernel.shape
    size, strides = (rows, columns), pair(stride)
    if runs_by_xla_on_a_processor() and _is_small(y, size):
        _, height, width, _ = y.shape
        return _transposed_as_product(y, kernel, strides, (strides[0] * height, strides[1] * width))

    def value(y: Tensor, kernel: Tensor) -> Tensor:
        return ops.conv_transpose(y, kernel, strides=strides, padding="same")

    def gradient(of_x: Tensor, y: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        of_y = ops.conv(of_x, kernel, strides=strides, padding="same")
        return of_y, _kernel_gradient(of_x, y, size, strides)

    return with_gradient(value, gradient, y, kernel) if runs_by_xla_on_a_processor() else value(y, kernel)


def _is_small(x: Tensor, size: Window) -> bool:
    """Whether x (n, h, w, c) has fewer pixels than a kernel of that size."""
    pixels: int = math.prod(x.shape[1:3])
    return pixels < math.prod(size)


def _as_product(x: Tensor, kernel: Tensor) -> Tensor:
    rows, columns, channels, filters = kernel.shape
    size, taps = (rows, columns), rows * columns
    if taps == 1 or channels <= filters:
        return by_pixel(patches(x, size), ops.reshape(kernel, (taps * channels, filters)))
    matrix = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (channels, taps * filters))
    return shifted_sum(by_pixel(x, matrix), size)


def _transposed_as_product(y: Tensor, kernel: Tensor, stride: Window, shape: Window) -> Tensor:
    rows, columns, channels, filters = kernel.shape
    matrix = ops.reshape(ops.transpose(kernel, (3, 0, 1, 2)), (filters, rows * columns * channels))
    return laid_out(by_pixel(y, matrix), (rows, columns), stride, shape)


def _transposed(of_y: Tensor, kernel: Tensor, stride: Window, shape: BatchShape) -> Tensor:
    """The gradient in x, of that shape, from that in y."""
    _, height, width, _ = shape
    if _is_small(of_y, kernel.shape[:2]):
        return _transposed_as_product(of_y, kernel, stride, (height, width))
    if height % stride[0] == width % stride[1] == 0:
        return ops.conv_transpose(of_y, kernel, strides=stride, padding="same")
    # Of another size, "same" lays the kernel elsewhere.
    whole = ops.conv_transpose(of_y, kernel, strides=stride, padding="valid")
    (top, _), (left, _) = map(_margins, (height, width), kernel.shape[:2], stride)
    return whole[:, top : top + height, left : left + width]


def _kernel_gradient(x: Tensor, of_y: Tensor, size: Window, stride: Window) -> Tensor:
    """∂/∂K of a sum whose gradient in y is ``of_y``: (s, s, c, m).

    The patches are those of whichever has the fewer channels: of x, or of ∂y, whose shifts are the other way round.
    """
    channels, filters = x.shape[-1], of_y.shape[-1]
    if stride != (1, 1) or channels < filters:
        product = _sum_of_products(_patches(x, size, stride=stride), of_y)
        return ops.reshape(product, (*size, channels, filters))
    product = ops.reshape(_sum_of_products(x, _patches(of_y, size, flipped=True)), (channels, *size, filters))
    return ops.transpose(product, (1, 2, 0, 3))


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Σ over images and positions of a (n, h, w, i) times b (n, h, w, j): (i, j)."""
    return ops.matmul(ops.transpose(ops.reshape(a, (-1, a.shape[-1]))), ops.reshape(b, (-1, b.shape[-1])))


def _shifts(size: int, flipped: bool) -> list[int]:
    """The positions along one axis that part 0, 1, … of the kernel is laid on."""
    return list(reversed(range(size)) if flipped else range(size))


def _margins(length: int, size: int, stride: int) -> tuple[int, int]:
    """The zeros before and behind an axis of so many pixels."""
    both = max((-(-length // stride) - 1) * stride + size - length, 0)
    return both // 2, both - both // 2


def _patches(x: Tensor, size: Window, flipped: bool = False, stride: Window = (1, 1)) -> Tensor:
    """x (n, h, w, c) -> (n, ⌈h/d⌉, ⌈w/d⌉, s²·c): part (i, j) is x[d·p + (i, j) - r], or shifted back if ``flipped``."""
    _, height, width, _ = x.shape
    padded = ops.pad(x, ((0, 0), *map(_margins, (height, width), size, stride), (0, 0)))
    rows, columns = (_shifts(each, flipped) for each in size)
    by_row = ops.concatenate([padded[:, :, j : j + width : stride[1]] for j in columns], axis=-1)
    return ops.concatenate([by_row[:, i : i + height : stride[0]] for i in rows], axis=-1)


def _shifted_sum(parts: Tensor, size: Window, flipped: bool = False) -> Tensor:
    """parts (n, h, w, s²·m) -> (n, h, w, m): Σ_ij part (i, j) shifted by (i, j) - r, or the other way."""
    _, height, width, channels = parts.shape
    m = channels // math.prod(size)
    margins = [(each // 2, each // 2) for each in size]
    by_row = ops.reshape(parts, (-1, height, width, size[0], size[1] * m))
    padded = ops.pad(by_row, ((0, 0), *margins, (0, 0), (0, 0)))
    shifts = [_shifts(each, flipped) for each in size]
    rows = _sum([padded[:, i : i + height, :, k] for k, i in enumerate(shifts[0])])  # (n, h, w + 2r, s·m)
    return _sum([rows[:, :, j : j + width, k * m : (k + 1) * m] for k, j in enumerate(shifts[1])])


def _sum(tensors: list[Tensor]) -> Tensor:
    return sum(tensors[1:], tensors[0])


def _laid_out(parts: Tensor, size: Window, stride: Window, shape: Window) -> Tensor:
    """The transpose of :func:`_patches` of images (n, h, w, c): part (i, j) of p is added at d·p + (i, j) - r."""
    height, width = shape
    rows = _laid_along(1, ops.split(parts, size[0], axis=-1), height, stride[0])
    return _laid_along(2, ops.split(rows, size[1], axis=-1), width, stride[1])


def _laid_along(axis: int, parts: list[Tensor], length: int, stride: int) -> Tensor:
    """Along one axis of so many pixels: part i of p is added at d·p + i - r."""
    before, _ = _margins(length, len(parts), stride)
    phases = []
    for phase in range(stride):
        # Pixel d·q + phase has part i of q + t, with d·t = phase + r - i.
        shifts = {i: divmod(phase + before - i, stride) for i in range(len(parts))}
        found = [_moved(parts[i], axis, t) for i, (t, rest) in shifts.items() if rest == 0]
        phases.append(_sum(found) if found else ops.zeros_like(parts[0]))
    if stride == 1:
        return phases[0]
    shape = list(parts[0].shape)
    shape[0], shape[axis] = -1, stride * shape[axis]
    whole = ops.reshape(ops.stack(phases, axis=axis + 1), shape)
    return whole[:, :length] if axis == 1 else whole[:, :, :length]


def _moved(x: Tensor, axis: int, places: int) -> Tensor:
    """x at q + t along an axis, 0 beyond its ends."""
    if places == 0:
        return x
    length, margins = x.shape[axis], [(0, 0)] * len(x.shape)
    margins[axis] = (max(0, -places), max(0, places))
    padded, start = ops.pad(x, margins), max(0, places)
    return padded[:, start : start + length] if axis == 1 else padded[:, :, start : start + length]


def patches(x: Tensor, size: Window, stride: Window = (1, 1)) -> Tensor:
    """The s² shifted copies of x (n, h, w, c), at every d-th pixel, side by side: (n, ⌈h/d⌉, ⌈w/d⌉, s²·c)."""
    if size == stride == (1, 1):
        return x
    _, height, width, _ = x.shape

    def gradient(of_parts: Tensor, x: Tensor) -> Tensor:
        if stride == (1, 1):
            return _shifted_sum(of_parts, size, flipped=True)
        return _laid_out(of_parts, size, stride, (height, width))

    return with_gradient(lambda x: _patches(x, size, stride=stride), gradient, x)


def laid_out(parts: Tensor, size: Window, stride: Window, shape: Window) -> Tensor:
    """The transpose of :func:`patches` of images of that height and width: s² parts of each pixel added where they lie.

    Args:
        parts: (n, ⌈h/d⌉, ⌈w/d⌉, s²·c).
        size: s.
        stride: d.
        shape: (h, w).

    Returns:
        (n, h, w, c).
    """
    return with_gradient(
        lambda parts: _laid_out(parts, size, stride, shape),
        lambda of_sum, parts: _patches(of_sum, size, stride=stride),
        parts,
    )


def shifted_sum(parts: Tensor, size: Window) -> Tensor:
    """The s² parts of (n, h, w, s²·m) shifted and added: (n, h, w, m)."""
    return with_gradient(
        lambda parts: _shifted_sum(parts, size), lambda of_sum, parts: _patches(of_sum, size, flipped=True), parts
    )


def by_pixel(x: Tensor, matrix: Tensor) -> Tensor:
    """x (n, h, w, c) times a matrix (c, m) at each pixel: (n, h, w, m).

    As a product of two matrices: with the axes left apart, its gradient would be computed more slowly.
    """
    _, height, width, channels = x.shape
    product = ops.matmul(ops.reshape(x, (-1, channels)), matrix)
    return ops.reshape(product, (-1, height, width, matrix.shape[-1]))


class Convolution(keras.layers.Layer):
    """y = activation(K * x + b), zero outside x; of its size at stride 1.

    Args:
        filters: channels m of y.
        size: s, the odd height and width of the kernel, or the two.
        stride: d, or that along each.
        activation: a Keras activation's name.
        kernel_initializer: a Keras initialiser, or its name; the bias begins at 0.
        use_bias: whether there is one.
        inputs: channels c of x, if they are known: the weights are then created at once.
    """

    def __init__(
        self,
        filters: int,
        size: int | Window,
        stride: int | Window = 1,
        activation: str = "linear",
        kernel_initializer: str | keras.initializers.Initializer = "he_normal",
        use_bias: bool = True,
        inputs: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.size = pair(size)
        self.stride = pair(stride)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = kernel_initializer
        self.use_bias = use_bias
        if inputs is not None:
            self._create(inputs)

    def build(self, shape: BatchShape) -> None:
        """Create the kernel (s, s, c, m) and the bias (m,)."""
        self._create(shape[-1])

    def _create(self, inputs: int) -> None:
        self.kernel = self.add_weight(
            shape=(*self.size, inputs, self.filters), initializer=self.kernel_initializer, name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.built = True

    def redraw(self) -> None:
        """Draw the kernel again, as it is drawn when the layer is built."""
        given = self.kernel_initializer
        # A clone, as an initialiser draws the same each time.
        initializer = keras.initializers.get(given) if isinstance(given, str) else given.clone()
        self.kernel.assign(initializer(self.kernel.shape, self.kernel.dtype))

    def call(self, x: Tensor) -> Tensor:
        """(n, h, w, c) -> (n, ⌈h/d⌉, ⌈w/d⌉, filters)."""
        y = convolve(x, ops.convert_to_tensor(self.kernel), self.stride)
        return self.activation(y + self.bias if self.use_bias else y)

    def compute_output_shape(self, shape: BatchShape) -> BatchShape:
        """(n, ⌈h/d⌉, ⌈w/d⌉, filters)."""
        n, height, width, _ = shape
        return n, -(-height // self.stride[0]), -(-width // self.stride[1]), self.filters
