"""The process of one training: ``python -m tests.benchmarks.peers.likelihood.serve MODULE RUN [--backend BACKEND]``.

RUN is a :class:`~tests.benchmarks.peers.likelihood.works.Run` as JSON; stdout is an ``Answer`` as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from dataclasses import asdict

from tests.benchmarks.peers.likelihood.side import Answer
from tests.benchmarks.peers.likelihood.works import Run


def main() -> None:
    """Train, and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="of this folder, with a function train(run)")
    parser.add_argument("run", type=lambda text: Run(**json.loads(text)))
    parser.add_argument("--backend", help="of Keras; not given for a side without Keras")
    options = parser.parse_args()
    # Stdout is for the answer alone: what libraries print goes to stderr.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        if options.backend:
            from bench.runtime.backend import select_backend

            select_backend(options.backend)
        # Only this process imports PyTorch or Keras.
        side = importlib.import_module(f"tests.benchmarks.peers.likelihood.{options.module}")
        answer: Answer = side.train(options.run)
        json.dump(asdict(answer), answers)


if __name__ == "__main__":
    main()
