"""How much each part computes: on an accelerator, or with ``--small`` on a processor of two cores."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.peers.works import WORKS, GlowWork, VAEWork


@dataclass(frozen=True)
class Sizes:
    """Everything whose amount can be chosen.

    Attributes:
        budgets: seconds of each part, by name, after which it is stopped.
        tests: folders or files of the models' tests.
        works: whose speed is measured, by name.
        rounds: turns of each activity.
        turn_seconds: of each.
        precision_glow: levels, depth and width of the Glow that is trained in several precisions.
        precision_images: that it sees.
        product: rows of the square matrices whose product is timed.
        curve_glow: levels, depth and width of the Glow on its way to the published figure.
        curve_batch: images of its steps.
        curve_look: training images between two looks at validation.
        curve_seconds: of each learning curve.
        validation_images: that a curve or a precision is judged by.
        depths: numbers of steps whose memory is measured.
        memory_glow: levels and width of the Glow whose memory is measured.
        memory_images: batch, and its image shape.
        study: options of the flagship study.
        flow: by which the published flow's widths and images differ.
        flow_trial_steps: whose second half gives its speed.
        flow_seconds: of its training.
        flow_images: test images that it is measured on.
    """

    budgets: dict[str, float]
    tests: tuple[str, ...]
    works: dict[str, GlowWork | VAEWork]
    rounds: int
    turn_seconds: float
    precision_glow: tuple[int, int, int]
    precision_images: int
    product: int
    curve_glow: tuple[int, int, int]
    curve_batch: int
    curve_look: int
    curve_seconds: float
    validation_images: int
    depths: tuple[int, ...]
    memory_glow: tuple[int, int]
    memory_images: tuple[int, tuple[int, int, int]]
    study: tuple[str, ...]
    flow: dict[str, int]
    flow_trial_steps: int
    flow_seconds: float
    flow_images: int


FULL = Sizes(
    budgets={
        "tests": 220,
        "speed": 330,
        "precision": 180,
        "study": 270,
        "curves": 230,
        "memory": 110,
        "flow": 580,
    },
    tests=("tests/models",),
    works={**WORKS, "glow-32x3-512": GlowWork(3, 32, 512, 64, (32, 32, 3))},
    rounds=3,
    turn_seconds=2.0,
    precision_glow=(2, 8, 256),
    precision_images=60_000,
    product=8192,
    curve_glow=(2, 16, 512),
    curve_batch=128,
    curve_look=16_384,
    curve_seconds=90.0,
    validation_images=2_000,
    depths=(8, 16, 32),
    memory_glow=(3, 512),
    memory_images=(64, (32, 32, 3)),
    study=(
        *("--trials", "8", "--images", "200000", "--timeout", "90", "--seeds", "2"),
        *("--importance-samples", "64", "--evaluation-images", "2000"),
    ),
    flow={},
    flow_trial_steps=120,
    flow_seconds=340.0,
    flow_images=10_000,
)

SMALL = Sizes(
    budgets={
        "tests": 60,
        "speed": 180,
        "precision": 120,
        "study": 300,
        "curves": 110,
        "memory": 100,
        "flow": 600,
    },
    tests=("tests/models/flows/test_dequantisation.py",),
    works={
        "glow-1x1-8": GlowWork(1, 1, 8, 16, (8, 8, 1), images=32, samples=16),
        "vae": VAEWork((50,), 10, 50, (28, 28, 1), images=500, samples=64),
    },
    rounds=1,
    turn_seconds=0.2,
    precision_glow=(1, 1, 8),
    precision_images=512,
    product=512,
    curve_glow=(1, 1, 8),
    curve_batch=64,
    curve_look=1_024,
    curve_seconds=10.0,
    validation_images=100,
    depths=(2,),
    memory_glow=(1, 16),
    memory_images=(8, (16, 16, 3)),
    study=("--smoke",),
    flow={"hidden_channels": 8, "blocks": 1, "dequantisation_depth": 1, "flow_depth": 1},
    flow_trial_steps=4,
    flow_seconds=10.0,
    flow_images=100,
)

TESTS, SPEED, PRECISION, STUDY, CURVES, MEMORY, FLOW = PARTS = tuple(FULL.budgets)
