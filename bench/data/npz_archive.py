"""Reads untrusted .npz and .npy files: header first, within limits, in blocks, never with pickle."""

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
from bench.data.other_formats import NPY_MAGIC, PICTURES, UNPACK, advise

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BLOCK_BYTES = 2**22
_MOST_HEADER_BYTES = 16 * 1024
"""An array's header is a line of text; a longer one is rejected."""


class Header(NamedTuple):
    """Shape, dtype and order of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool = False

    @property
    def n_bytes(self) -> int:
        """Bytes of the array, as an exact integer: a forged shape must not overflow."""
        return math.prod(self.shape, start=self.dtype.itemsize)

    @property
    def rows_at_once(self) -> int:
        """Rows of a block."""
        return max(1, _BLOCK_BYTES // max(1, self.n_bytes // max(1, self.shape[0])))


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

    def blocks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The rows of the array ``name``, which has axes, a few at a time and in order."""


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

    def blocks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The rows of the array ``name``, a few at a time and in order."""
        return _cut(self._arrays[name], self.header(name))


class ArrayFile:
    """An open .npz file, or a .npy file, whose one array is called ``images``.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be opened, or is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # File names need not be valid text.
        self.source = f"the user's own file {path.name.encode(errors='replace').decode()}"
        self._zip: zipfile.ZipFile | None = None
        with self._reraise():
            with path.open("rb") as file:
                beginning = file.read(len(NPY_MAGIC))
            if beginning != NPY_MAGIC:
                if not beginning.startswith(b"PK"):
                    advise(path)
                self._zip = zipfile.ZipFile(path)
        members = ["images.npy"] if self._zip is None else self._zip.namelist()
        if any(member.lower().endswith(PICTURES) for member in members):
            raise DataError(f"{path} cannot be read: it {UNPACK}.")
        self.names = tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))

    def __enter__(self) -> ArrayFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def where(self, name: str) -> str:
        """The name of the array ``name`` in errors."""
        return str(self.path) if self._zip is None else f"{self.path}: {name}"

    def header(self, name: str) -> Header:
        """Shape and dtype of the array ``name``, without its data.

        Raises:
            DataError: the header is damaged.
        """
        with self._reraise(name), self._open(name) as stream:
            return self._read_header(name, stream)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The array ``name``, decompressed whole: check its header first.

        Raises:
            DataError: the array is damaged, or holds objects.
        """
        with self._reraise(name), self._open(name) as stream:
            array: npt.NDArray[np.generic] = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    def blocks(self, name: str) -> Iterator[npt.NDArray[np.generic]]:
        """The rows of the array ``name``, which has axes, a few at a time and in order.

        Raises:
            DataError: the array is damaged.
        """
        header = self.header(name)
        if header.fortran_order:
            # Its rows lie scattered over the file.
            yield from _cut(self.read(name), header)
            return
        row = header.shape[1:]
        with self._reraise(name), self._open(name) as stream:
            self._read_header(name, stream)
            for start in range(0, header.shape[0], header.rows_at_once):
                rows = min(header.rows_at_once, header.shape[0] - start)
                wanted = math.prod(row, start=rows * header.dtype.itemsize)
                data = stream.read(wanted)
                if len(data) < wanted:
                    raise EOFError("it ends before its last value")
                yield np.frombuffer(data, header.dtype).reshape(rows, *row)

    def _open(self, name: str) -> IO[bytes]:
        return self.path.open("rb") if self._zip is None else self._zip.open(f"{name}.npy")

    def _read_header(self, name: str, stream: IO[bytes]) -> Header:
        """Shape and dtype; the stream is then at the start of the data."""
        beginning = io.BytesIO(stream.read(_MOST_HEADER_BYTES))
        version = np.lib.format.read_magic(beginning)
        if version not in _READ_HEADER:
            raise ValueError(f"its array format is version {version}, not 1.0 or 2.0")
        shape, fortran_order, dtype = _READ_HEADER[version](beginning)
        if not 0 <= min(shape, default=0) <= max(shape, default=0) < 2**63:
            raise ValueError(f"its header gives the shape {shape}")
        header = Header(shape, dtype, fortran_order)
        # The sizes by archive and by header must agree before memory is allocated; objects have no fixed size.
        whole = self.path.stat().st_size if self._zip is None else self._zip.getinfo(f"{name}.npy").file_size
        held, needed = whole - beginning.tell(), header.n_bytes
        if held != needed and not dtype.hasobject:
            raise ValueError(f"it holds {held:,} bytes, but its shape {shape} takes {needed:,}")
        stream.seek(beginning.tell())
        return header

    @contextmanager
    def _reraise(self, name: str | None = None) -> Iterator[None]:
        """Turn any error of zipfile, its decompressors and NumPy into a DataError that names the file."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # They raise errors of many unrelated kinds.
            where = self.where(name) if name else str(self.path)
            raise DataError(
                f"{where} cannot be read: {shorten(str(error))}. A complete .npz file, as np.savez_compressed writes "
                "it, or a .npy file, as np.save does, is accepted."
            ) from error


def _cut(array: npt.NDArray[np.generic], header: Header) -> Iterator[npt.NDArray[np.generic]]:
    for start in range(0, len(array), header.rows_at_once):
        yield array[start : start + header.rows_at_once]
