from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def shared_file() -> Callable[[str], Path]:
    """Path of a real data file beside the checkout; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        file = SHARED_DATA / name
        if not file.exists():
            pytest.skip(f"needs {file}")
        return file

    return find


@pytest.fixture
def save_npz(tmp_path: Path) -> Callable[..., str]:
    """Writes arrays to ``data.npz`` and returns its path."""

    def save(**arrays: object) -> str:
        file = tmp_path / "data.npz"
        np.savez_compressed(file, **arrays)
        return str(file)

    return save
