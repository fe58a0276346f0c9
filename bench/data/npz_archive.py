"""Reads untrusted .npz files: header first, within limits, never with pickle."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bench.core.errors import DataError
from bench.core.logs import shorten

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_CHUNK_BYTES = 2**20
_MOST_HEADER_BYTES = 16 * 1024
"""An array's header is a line of text; a longer one is rejected."""


class Header(NamedTuple):
    """Shape and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def n_bytes(self) -> int:
        """Bytes of the array, as an exact integer: a forged shape must not overflow."""
        return math.prod(self.shape, start=self.dtype.itemsize)


class ArraySource(Protocol):
    """Named arrays in a file or in memory.

    Attributes:
        path: its name in errors.
        source: where the data comes from, for the data set's metadata.
        names: names of the arrays.
    """

    path: Path
    source: str
    names: tuple[str, ...]

    def where(self, name: str) -> str:
        """The name of the array ``name`` in errors."""

    def header(self, name: str) -> Header:
        """Shape and dtype of the array ``name``."""

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The array ``name``."""

    def chunks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The values of the array ``name``, in chunks and without their shape."""


class ArraysInMemory:
    """Arrays that a function of the user's returned.

    Args:
        name: name of the data set.
        arrays: arrays by name, as in an .npz file.
        source: where they come from.
    """

    def __init__(self, name: str, arrays: Mapping[str, npt.ArrayLike], source: str) -> None:
        self.path = Path(name)
        self.source = source
        self._arrays = {key: np.asarray(value) for key, value in arrays.items()}
        self.names = tuple(self._arrays)

    def where(self, name: str) -> str:
        """The name of the array ``name`` in errors."""
        return f"{self.path}: {name}"

    def header(self, name: str) -> Header:
        """Shape and dtype of the array ``name``."""
        return Header(self._arrays[name].shape, self._arrays[name].dtype)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The array ``name``."""
        return self._arrays[name]

    def chunks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The values of the array ``name``, one image at a time."""
        yield from self._arrays[name]


class NpzArchive:
    """An open .npz file.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be opened, or is not an .npz file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # File names need not be valid text.
        self.source = f"the user's own file {path.name.encode(errors='replace').decode()}"
        with self._reraise():
            self._zip = zipfile.ZipFile(path)
        self.names = tuple(name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy"))

    def __enter__(self) -> NpzArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zip.close()

    def where(self, name: str) -> str:
        """The name of the array ``name`` in errors."""
        return f"{self.path}: {name}"

    def header(self, name: str) -> Header:
        """Shape and dtype of the array ``name``, without its data.

        Raises:
            DataError: the header is damaged.
        """
        with self._reraise(name), self._zip.open(f"{name}.npy") as stream:
            return self._read_header(name, stream)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The array ``name``, decompressed whole: check its header first.

        Raises:
            DataError: the array is damaged, or holds objects.
        """
        with self._reraise(name), self._zip.open(f"{name}.npy") as stream:
            array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    def chunks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The values of the array ``name``, in chunks and without their shape.

        Raises:
            DataError: the array is damaged.
        """
        with self._reraise(name), self._zip.open(f"{name}.npy") as stream:
            header = self._read_header(name, stream)
            for start in range(0, header.n_bytes, _CHUNK_BYTES):
                data = stream.read(min(_CHUNK_BYTES, header.n_bytes - start))
                if not data:
                    raise EOFError("it ends before its last value")
                yield np.frombuffer(data, header.dtype)

    def _read_header(self, name: str, stream: IO[bytes]) -> Header:
        """Shape and dtype; the stream is then at the start of the data."""
        beginning = io.BytesIO(stream.read(_MOST_HEADER_BYTES))
        version = np.lib.format.read_magic(beginning)
        if version not in _READ_HEADER:
            raise ValueError(f"its array format is version {version}, not 1.0 or 2.0")
        shape, _, dtype = _READ_HEADER[version](beginning)
        if not 0 <= min(shape, default=0) <= max(shape, default=0) < 2**63:
            raise ValueError(f"its header gives the shape {shape}")
        header = Header(shape, dtype)
        # The sizes by archive and by header must agree before memory is allocated; objects have no fixed size.
        held, needed = self._zip.getinfo(f"{name}.npy").file_size - beginning.tell(), header.n_bytes
        if held != needed and not dtype.hasobject:
            raise ValueError(f"it holds {held:,} bytes, but its shape {shape} takes {needed:,}")
        stream.seek(beginning.tell())
        return header

    @contextmanager
    def _reraise(self, name: str | None = None) -> Iterator[None]:
        """Turn any error of zipfile, its decompressors and NumPy into a DataError that names the file."""
        try:
            yield
        except Exception as error:  # They raise errors of many unrelated kinds.
            where = self.where(name) if name else str(self.path)
            raise DataError(
                f"{where} cannot be read: {shorten(str(error))}. A complete .npz file, as np.savez_compressed writes "
                "it, is accepted."
            ) from error
