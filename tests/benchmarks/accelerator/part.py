"""The process of one part: ``python -m tests.benchmarks.accelerator.part NAME OUTPUT …``; the benchmark starts it.

Each part has a process of its own, so that none leaves anything on the accelerator for the next, and one that dies
takes no other with it.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.accelerator.rows import Row, Table
from tests.benchmarks.accelerator.sizes import CURVES, FLOW, FULL, PARTS, PRECISION, SMALL, Sizes

TABLE = "accelerator.csv"
ON_KERAS = (PRECISION, CURVES, FLOW)
"""The parts that compute in their own process; the others start processes that do."""


@dataclass(frozen=True)
class Part:
    """What a part is given.

    Attributes:
        name: of the part.
        output: the folder of the results.
        data: MNIST, an .npz file.
        binarized: binarised MNIST, an .npz file; None without it.
        peer_python: the Python that has PyTorch and normflows, if one has.
        small: whether all is to be tiny.
    """

    name: str
    output: Path
    data: Path
    binarized: Path | None
    peer_python: str
    small: bool

    @property
    def sizes(self) -> Sizes:
        """How much it computes."""
        return SMALL if self.small else FULL

    def tell(self, subject: str, figure: str, value: float | None = None, **others: object) -> None:
        """Add a row to the table."""
        Table(self.output / TABLE).add(Row(self.name, subject, figure, value, **others))  # type: ignore[arg-type]


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--binarized", type=Path)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--small", action="store_true")
    part = Part(**vars(parser.parse_args()))
    if part.name in ON_KERAS:
        from bench.runtime.backend import select_backend

        # Before anything imports Keras.
        select_backend("jax")
    importlib.import_module(f"tests.benchmarks.accelerator.{part.name}").measure(part)


if __name__ == "__main__":
    main()
