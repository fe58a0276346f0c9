"""Write ``data/normflows.npz``: our weights, and what normflows 1.7.3 makes of them.

It needs the packages of the extra ``peers``; the tests that read the file do not. For each case the file holds

    <case>/names        names of our weights, in order
    <case>/weights      their values, one after the other (float32, exact)
    <case>/y            continuous images (n, h, w, c)
    <case>/constant     log p(y) of normflows' MultiscaleFlow, our split priors without their kernels
    <case>/conditional  log p(y) through normflows' maps, our split priors conditional
    <case>/latent_<i>   normflows' latents, finest first
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from tests.peers.glow_cases import CASES, inputs, make_split_priors_constant, perturbed_glow
from tests.peers.normflows_glow import Peer

FIXTURE = Path(__file__).parent / "data" / "normflows.npz"


def main() -> None:
    """Write the fixture."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.utils.set_random_seed(0)
    arrays = {}
    for name in CASES:
        model, y = perturbed_glow(name), inputs(name)
        arrays[f"{name}/names"] = np.array([weight.name for weight in model.weights])
        # What is not trained, permutations and signs, and all that is perturbed is exact in single precision.
        arrays[f"{name}/weights"] = np.concatenate([np.ravel(weight) for weight in model.weights]).astype(np.float32)
        arrays[f"{name}/y"] = y.astype(np.float32)
        peer = Peer(model)
        arrays[f"{name}/conditional"] = peer.conditional_log_prob(y)
        arrays |= {f"{name}/latent_{i}": latent for i, latent in enumerate(peer.encode(y))}
        make_split_priors_constant(model)
        arrays[f"{name}/constant"] = Peer(model).log_prob(y)
    np.savez_compressed(FIXTURE, **arrays)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
