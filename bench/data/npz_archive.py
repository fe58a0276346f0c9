"""Reading an .npz file that is not trusted: by header first, within limits, and never with pickle."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_CHUNK_BYTES = 2**20


class Header(NamedTuple):
    """What the file says of an array before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def n_bytes(self) -> int:
        """Bytes of the array, in exact arithmetic: a forged shape must not overflow."""
        return math.prod(self.shape, start=self.dtype.itemsize)


class NpzArchive:
    """An open .npz file.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be opened, or is not an .npz file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            self._zip = zipfile.ZipFile(path)
        self.names = tuple(name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy"))

    def __enter__(self) -> NpzArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    def where(self, name: str) -> str:
        """How errors name the array ``name``."""
        return f"{self.path}: {name}"

    def header(self, name: str) -> Header:
        """Shape and dtype of the array ``name``, without its data.

        Raises:
            DataError: the header is damaged.
        """
        with self._explained(name), self._zip.open(f"{name}.npy") as stream:
            return _read_header(stream)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The array ``name``. Look at its header first: it is decompressed whole.

        Raises:
            DataError: the array is damaged, or holds objects.
        """
        with self._explained(name), self._zip.open(f"{name}.npy") as stream:
            array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    def chunks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The values of the array ``name``, some at a time and without their shape.

        Raises:
            DataError: the array is damaged.
        """
        with self._explained(name), self._zip.open(f"{name}.npy") as stream:
            header = _read_header(stream)
            for start in range(0, header.n_bytes, _CHUNK_BYTES):
                yield np.frombuffer(stream.read(min(_CHUNK_BYTES, header.n_bytes - start)), header.dtype)

    @contextmanager
    def _explained(self, name: str | None = None) -> Iterator[None]:
        """Turns what zipfile, its decompressors and NumPy raise on a bad file into an error that names it."""
        try:
            yield
        except (
            OSError,
            EOFError,
            ValueError,
            RuntimeError,  # an encrypted member
            NotImplementedError,  # an unknown compression
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            where = self.where(name) if name else str(self.path)
            raise DataError(
                f"{where} cannot be read: {error}. A complete .npz file, as np.savez_compressed writes it, is accepted."
            ) from error


def _read_header(stream: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise ValueError(f"its array format is version {version}, not 1.0 or 2.0")
    shape, _, dtype = _READ_HEADER[version](stream)
    if min(shape, default=0) < 0:
        raise ValueError(f"its header gives the shape {shape}")
    return Header(shape, dtype)
