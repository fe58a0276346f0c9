"""The process of one side of the speeds: ``python -m tests.benchmarks.accelerator.side MODULE WORK``.

The sides are those of the benchmark beside PyTorch packages. Each line of stdout is one answer, JSON: first what the
side says of itself, then a rate for each turn.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os

from tests.benchmarks.accelerator.sizes import FULL, SMALL

OURS = "ours"


def main() -> None:
    """Make ready, and take the turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", help="of tests.benchmarks.peers, with a function prepare(work)")
    parser.add_argument("work", choices={**FULL.works, **SMALL.works})
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    sizes = SMALL if options.small else FULL
    # Stdout is for answers alone: what libraries print goes to stderr.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        if options.module == OURS:
            from bench.runtime.backend import select_backend

            select_backend("jax")
        side = importlib.import_module(f"tests.benchmarks.peers.{options.module}").prepare(sizes.works[options.work])
        print(json.dumps({**side.about, **(_peak() if options.module == OURS else {})}), file=answers)
        for _ in range(sizes.rounds):
            for activity, go in side.activities.items():
                print(json.dumps({"activity": activity, "rate": go(sizes.turn_seconds)}), file=answers)


def _peak() -> dict[str, float]:
    from bench.evaluation.cost.flops import peak_operations_per_second

    return {"peak": peak_operations_per_second()}


if __name__ == "__main__":
    main()
