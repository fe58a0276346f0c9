"""The speed of our Glow and VAE beside what one would otherwise take: reports/benchmarks/peers.csv and .md.

Each side has a process of its own, which is made ready once and then has its turns; no two compute at the same time.
A round gives each side one turn for each activity, ours first, so that what slows the machine down for a while slows
both; a ratio is that of one round. It takes a machine that is otherwise idle: PyTorch's threads wait for each other,
and lose far more than XLA's do to a neighbour. The share of the processors that others took is kept with every turn.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.runtime.backend import BACKENDS
from bench.runtime.provenance import commit, processor
from tests.benchmarks.peers.page import Line, page
from tests.benchmarks.peers.peak import PRODUCT
from tests.benchmarks.peers.processes import ROOT, SideProcess
from tests.benchmarks.peers.works import TRAINING, WORKS, GlowWork, VAEWork

OUTPUT = ROOT / "reports" / "benchmarks"
OURS = "reparam-bench"
NUMPY = "numpy"
PEERS = {
    "normflows": "normflows_side",
    "a Glow in plain PyTorch": "torch_glow",
    "plain PyTorch": "torch_vae",
    "pythae": "pythae_side",
}
"""By the names that the page gives them, their modules."""
PEAK_SECONDS = 1.0
RESAMPLES = 9_999
OPERATIONS_PER_MULTIPLICATION = 2 * 3
"""Of training: a multiply-add is two, and the backward pass takes two products for each of the forward pass."""


@dataclass(frozen=True)
class Turn:
    """One turn of one side: how much it did a second, and which share of the processors others took meanwhile."""

    work: str
    activity: str
    side: str
    round: int
    unit: str
    per_second: float
    others: float


def measure(key: str, options: argparse.Namespace) -> tuple[list[Turn], list[Line], dict[str, Any]]:
    """All rounds of one work; what they come to; what the sides say of themselves."""
    with ExitStack() as stack:

        def started(*arguments: str) -> SideProcess:
            side = SideProcess(*arguments)
            stack.callback(side.close)
            return side

        names = _peers(WORKS[key])
        sides = {OURS: started(sys.executable, "ours", key, options.backend)}
        sides |= {name: started(options.peer_python, PEERS[name], key) for name in names}
        device = _device(sides)
        # NumPy computes on the processor: of an accelerator it tells nothing.
        peak = started(sys.executable, "peak", key) if device == "cpu" else None
        turns: list[Turn] = []
        for number in range(1, options.rounds + 1):
            turns += _round(key, number, sides, peak, options.seconds)
    versions = {name: version for side in sides.values() for name, version in side.about["versions"].items()}
    about = {"device": device, "versions": versions}
    operations = OPERATIONS_PER_MULTIPLICATION * sides[OURS].about["multiplications"]
    return turns, _compared(turns, names, sides[OURS].about["activities"], operations), about


def _peers(work: GlowWork | VAEWork) -> list[str]:
    """What has models of these layers."""
    if isinstance(work, VAEWork):
        return ["plain PyTorch", "pythae"]
    return ["normflows"] if work.network == "convolutional" else ["a Glow in plain PyTorch"]


def _device(sides: dict[str, SideProcess]) -> str:
    """The one that all compute on."""
    devices = {name: str(side.about["device"]) for name, side in sides.items()}
    if len(set(devices.values())) > 1:
        raise SystemExit(f"error: the sides compute on different devices, which no ratio makes sense of: {devices}")
    return devices[OURS]


def _round(
    key: str, number: int, sides: dict[str, SideProcess], peak: SideProcess | None, seconds: float
) -> list[Turn]:
    """One turn of every side for every activity that it has."""
    turns = []

    def turn(activity: str, name: str, side: SideProcess, seconds: float, unit: str) -> None:
        turns.append(Turn(str(WORKS[key]), activity, name, number, unit, *side.go(activity, seconds)))
        print(*astuple(turns[-1]), sep=" | ", flush=True)

    if peak is not None:
        turn(PRODUCT, NUMPY, peak, PEAK_SECONDS, "operations")
    for activity in sides[OURS].about["activities"]:
        for name, side in sides.items():
            if activity in side.about["activities"]:
                turn(activity, name, side, seconds, "images")
    return turns


def _compared(turns: Sequence[Turn], names: Iterable[str], activities: Iterable[str], operations: float) -> list[Line]:
    """A line of the page for each peer and each activity that it has.

    Args:
        turns: of one work.
        names: of the peers.
        activities: ours.
        operations: floating-point operations of one image in training.
    """
    lines = []
    peak = _rates(turns, PRODUCT, NUMPY)
    for name in names:
        for activity in activities:
            ours, theirs = _rates(turns, activity, OURS), _rates(turns, activity, name)
            if not theirs.size:
                continue
            has_peak = activity == TRAINING and peak.size > 0
            lines.append(
                Line(
                    work=turns[0].work,
                    activity=activity,
                    peer=name,
                    ours=float(np.median(ours)),
                    theirs=float(np.median(theirs)),
                    ratio=float(np.median(ours / theirs)),
                    interval=interval_of_median(ours / theirs),
                    our_fraction=float(np.median(operations * ours / peak)) if has_peak else None,
                    their_fraction=float(np.median(operations * theirs / peak)) if has_peak else None,
                )
            )
    return lines


def _rates(turns: Iterable[Turn], activity: str, side: str) -> np.ndarray:
    """Of each round, in order."""
    return np.asarray([turn.per_second for turn in turns if (turn.activity, turn.side) == (activity, side)])


def interval_of_median(values: np.ndarray) -> tuple[float, float] | None:
    """Percentile bootstrap of the median at 95 %; None of a single value."""
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="that a turn takes, warm")
    parser.add_argument("--backend", choices=BACKENDS, default="jax", help="of our side")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS), help="what is measured")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has PyTorch and the peers")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    turns: list[Turn] = []
    lines: list[Line] = []
    device = ""
    versions: dict[str, str] = {}
    for key in options.works:
        measured, compared, about = measure(key, options)
        turns += measured
        lines += compared
        device = about["device"]
        versions |= about["versions"]
    peaks = _rates(turns, PRODUCT, NUMPY)
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / "peers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(field.name for field in fields(Turn))
        table.writerows((*astuple(turn)[:-2], f"{turn.per_second:.6g}", f"{turn.others:.3f}") for turn in turns)
    stated = {
        "command": _command(options),
        "machine": f"{processor()}, {os.cpu_count()} processors, {platform.system()}",
        "commit": commit(),
        "device": device,
        "backend": options.backend,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "others": _share_of_others(turns),
        "peak": f"{statistics.median(peaks) / 1e9:.0f}" if len(peaks) else "",
        "rounds": str(options.rounds),
        "seconds": f"{options.seconds:g}",
    }
    (options.output / "peers.md").write_text(page(lines, stated))
    print(options.output / "peers.md")


def _share_of_others(turns: Iterable[Turn]) -> str:
    """How idle the machine was otherwise."""
    shares = [turn.others for turn in turns]
    return f"{statistics.median(shares):.0%} in the median turn and {max(shares):.0%} in the worst"


def _command(options: argparse.Namespace) -> str:
    """The command that measures the same, wherever the peers are installed and the page is written."""
    works = f" --works {' '.join(options.works)}" if options.works != list(WORKS) else ""
    return (
        f"python -m tests.benchmarks.peers --rounds {options.rounds} --seconds {options.seconds:g} "
        f"--backend {options.backend}{works}"
    )
