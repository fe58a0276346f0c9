"""Which errors are which."""

import pytest

from bench.core.errors import OutOfMemoryError, is_out_of_memory


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ResourceExhaustedError("OOM when allocating tensor with shape[8,8]"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."), True),
        (RuntimeError("INTERNAL: Error dispatching computation: Out of memory allocating 8 bytes."), True),
        (RuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), True),
        (RuntimeError("INTERNAL: cuBLAS: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (OutOfMemoryError("the host ran out of memory"), True),
        (RuntimeError("INVALID_ARGUMENT: shapes differ"), False),
        (ValueError("the memory of it"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_out_of_memory_differs_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected
