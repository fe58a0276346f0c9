"""The process of one side: ``python -m tests.benchmarks.peers.serve MODULE WORK [--backend BACKEND]``.

It makes ready, says so, and then does what it is asked, one line of stdin after the other, until stdin ends:

    stdin   training 5          an activity, and for how many seconds
    stdout  {"rate": 812.3}     the answer; before the first one, what is to be known of the side

Between its turns it waits for the next line and computes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys

from tests.benchmarks.peers.side import Side
from tests.benchmarks.peers.works import WORKS


def main() -> None:
    """Make ready, and answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="of this folder, with a function prepare(work)")
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--backend", help="of Keras; not given for a side without Keras")
    options = parser.parse_args()
    # Stdout is for answers alone: what libraries print goes to stderr.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        side = _prepared(options)
        print(json.dumps({**side.about, "activities": list(side.activities)}), file=answers)
        for line in sys.stdin:
            activity, seconds = line.split()
            print(json.dumps({"rate": side.activities[activity](float(seconds))}), file=answers)


def _prepared(options: argparse.Namespace) -> Side:
    """The side, from its own module: only its own process imports PyTorch or Keras."""
    if options.backend:
        from bench.runtime.backend import select_backend

        select_backend(options.backend)
    side: Side = importlib.import_module(f"tests.benchmarks.peers.{options.module}").prepare(WORKS[options.work])
    return side


if __name__ == "__main__":
    main()
