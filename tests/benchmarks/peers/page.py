"""The page of what was measured: our speed, theirs, their ratio, and how near both come to what the machine can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        work: what was computed.
        activity: training, likelihood or sampling.
        peer: what ours was compared with.
        ours: images a second, the median over rounds.
        theirs: the same, of the peer.
        ratio: ours over theirs, the median over rounds.
        interval: 95 % interval of it; None after a single round.
        our_fraction: operations a second of our training over the measured peak; None where no peak stands beside it.
        their_fraction: the same, of the peer.
    """

    work: str
    activity: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    interval: tuple[float, float] | None
    our_fraction: float | None
    their_fraction: float | None


def page(lines: Sequence[Line], about: Mapping[str, str]) -> str:
    """The page, Markdown.

    Args:
        lines: the comparisons.
        about: command, machine, commit, device, backend, versions, rounds, seconds, the share of the
            processors that others took, and the peak in 10⁹ operations a second, empty where there is none.
    """
    parts = [
        "# Speed beside packages on PyTorch\n",
        f"`{about['command']}` on {about['machine']}, commit {about['commit'][:12]}. All sides compute on the "
        f"{about['device']} in float32, ours by Keras on {about['backend']} ({about['versions']}). Turns of "
        f"{about['seconds']} s, ours and theirs alternating, {_counted(int(about['rounds']), 'round')}. Of the "
        f"processors' time others took {about['others']}. All figures are in [peers.csv](peers.csv).\n",
        _verdict(lines),
    ]
    for peer in dict.fromkeys(line.peer for line in lines):
        parts += [f"## {PEERS[peer]}\n", _table(HEAD, [_cells(line) for line in lines if line.peer == peer])]
    return "\n".join([*parts, "## What is compared\n", _explained(about)])


HEAD = ("", "ours, images/s", "theirs, images/s", "ratio [95 %]", "fraction of peak, ours", "theirs")
PEERS = {
    "normflows": "Glow, against normflows",
    "a Glow in plain PyTorch": "Glow with gated residual networks, against one in plain PyTorch",
    "plain PyTorch": "VAE, against a plain PyTorch loop",
    "pythae": "VAE, against pythae's BaseTrainer",
}


def _table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    shown = [list(head), ["---"] + ["--:"] * (len(list(head)) - 1), *map(list, lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in shown) + "\n"


def _cells(line: Line) -> list[str]:
    interval = "" if line.interval is None else f" [{line.interval[0]:.2f} … {line.interval[1]:.2f}]"
    fractions = ["" if each is None else f"{each:.0%}" for each in (line.our_fraction, line.their_fraction)]
    return [
        f"{line.work}: {line.activity}",
        _images(line.ours),
        _images(line.theirs),
        f"{line.ratio:.2f}{interval}",
        *fractions,
    ]


def _images(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _verdict(lines: Sequence[Line]) -> str:
    """How many comparisons came out which way; one whose interval holds 1 did not."""
    faster = [line for line in lines if line.interval and line.interval[0] > 1]
    slower = [line for line in lines if line.interval and line.interval[1] < 1]
    open_ones = len(lines) - len(faster) - len(slower)
    named = "; ".join(f"{line.work}, {line.activity}, against {line.peer}" for line in slower)
    return (
        f"Of {_counted(len(lines), 'comparison')}, ours is the faster in {len(faster)} and the slower in "
        f"{len(slower)}{f' ({named})' if named else ''}; {open_ones} {'is' if open_ones == 1 else 'are'} undecided.\n"
    )


def _explained(about: Mapping[str, str]) -> str:
    peak = (
        f"the product of two 2048x2048 float32 matrices by NumPy's BLAS, measured in each round by itself, the fastest "
        f"of a second: {about['peak']}·10⁹ operations/s in the median. A training image is counted as 2 operations for "
        "each multiplication of the forward pass, times 3 for the backward pass; theirs by our model's count"
        if about["peak"]
        else "not stated on an accelerator, for it was not measured there"
    )
    return (
        "- **Turns.** Each side is a process of its own that is compiled and warm before the first round and stays "
        "alive; only one computes at a time. A speed is all images over all seconds of a turn, shown as the median "
        "over rounds; a ratio is ours over theirs in the same round, shown as the median over rounds with its "
        "percentile bootstrap interval. With 5 rounds or fewer, that interval is the range of the ratios.\n"
        "- **Training**: data in random order, uniform dequantisation for Glow, forward and backward pass, an Adam "
        "step. Ours is `bench.training.loop.train`, its warm epochs; looks at validation do not count. pythae's are "
        "its warm epochs, with the default settings of its loader.\n"
        "- **Likelihood**: one log-probability of each image without gradients, from integer images to a number for "
        "each on the host. Glow: 256 at once, dequantised anew. VAE: one-sample ELBO of all 10,000, ours in the "
        "batches that the harness takes, theirs in batches of 1,000.\n"
        "- **Sampling**: 256 integer images at once, on the host.\n"
        "- **Models.** The layers are the same, on synthetic images. Our Glow's split priors depend on the half that "
        "is kept, by one convolution a split, which normflows' do not; normflows' sampling also gives the samples' "
        "log-probabilities. The Glow in plain PyTorch has such split priors too; ours alone brings the marginals of "
        "pixels near normal ones first.\n"
        f"- **Peak**: {peak}.\n"
    )
