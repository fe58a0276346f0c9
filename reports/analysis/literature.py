"""Published likelihoods of the benchmark data sets, to set the obtained beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Published:
    """A published test likelihood.

    Attributes:
        model: its name in the publication.
        metric: ``bits_per_dim`` or ``nll_nats``.
        value: in that metric's unit.
        source: where it was published.
    """

    model: str
    metric: str
    value: float
    source: str


GRATHWOHL = "Grathwohl et al. (2019), table 2"
BURDA = "Burda, Grosse & Salakhutdinov (2016), on the fixed binarisation"
RESULTS: dict[tuple[str, int], list[Published]] = {
    ("mnist", 256): [
        Published("Real NVP", "bits_per_dim", 1.06, GRATHWOHL),
        Published("Glow", "bits_per_dim", 1.05, GRATHWOHL),
        Published("FFJORD", "bits_per_dim", 0.99, GRATHWOHL),
    ],
    ("cifar10", 256): [
        Published("Real NVP", "bits_per_dim", 3.49, GRATHWOHL),
        Published("Glow", "bits_per_dim", 3.35, "Kingma & Dhariwal (2018), table 2"),
        Published("FFJORD", "bits_per_dim", 3.40, GRATHWOHL),
        Published("Flow++", "bits_per_dim", 3.08, "Ho et al. (2019), table 1"),
    ],
    ("binarized_mnist", 2): [
        Published("VAE, 200-200 tanh, 50 latents", "nll_nats", 88.71, BURDA),
        Published("IWAE, k = 5, the same network", "nll_nats", 87.63, BURDA),
        Published("IWAE, k = 50, the same network", "nll_nats", 87.10, BURDA),
    ],
}
"""By name of the data set and its number of grey levels, under which the publications measured it."""


def published(dataset: Mapping[str, object]) -> list[Published]:
    """What is known of a study's data set; empty where nothing is."""
    levels = dataset.get("grey_levels")
    return RESULTS.get((str(dataset.get("name")), int(levels) if isinstance(levels, int | float) else 0), [])
