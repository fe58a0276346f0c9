"""Our Glow beside normflows', weights copied over: needs the packages of the extra ``peers``."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.bijections.coupling import CheckerboardCoupling
from models.bijections.coupling_networks import network_of
from models.bijections.elementwise import Affine
from tests.peers.glow_cases import CASES, inputs, make_split_priors_constant, perturbed_glow, program

pytest.importorskip("normflows", reason="normflows is of the extra `peers`: make test-peers")

from tests.peers.normflows_glow import MaskedPeer, Peer

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]


@pytest.mark.parametrize("name", CASES)
def test_log_p_and_latents_are_those_of_normflows_and_each_decodes_what_the_other_encodes(name):
    model, y = perturbed_glow(name), inputs(name)
    peer, run = Peer(model), program(model)
    theirs = peer.encode(y)
    ours, log_prob, decoded = run(y, theirs)
    assert_allclose(log_prob, peer.conditional_log_prob(y), rtol=1e-11)
    for mine, other in zip(ours, theirs, strict=True):
        assert_allclose(mine, other, atol=1e-11)
    assert_allclose(decoded, y, atol=1e-9)
    assert_allclose(peer.decode(ours), y, atol=1e-9)
    make_split_priors_constant(model)
    theirs_alone = Peer(model).log_prob(y)
    assert theirs_alone.std() > 1
    assert_allclose(run(y, theirs)[1], theirs_alone, rtol=1e-11)


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("shape", [(4, 6, 3), (3, 5, 1)], ids=str)
def test_a_checkerboard_is_normflows_masked_affine_flow(perturb, shape, steps):
    coupling = CheckerboardCoupling(Affine(), network_of("convolutional", 5, blocks=0))
    coupling.build((None, *shape))
    for _ in range(steps):
        coupling.redraw()
    perturb(coupling)
    x = np.random.default_rng(0).standard_normal((4, *shape))
    peer = MaskedPeer(coupling, shape[-1])
    theirs, their_log_det = peer.forward(x)
    assert np.abs(their_log_det).min() > 0.1
    y, log_det = coupling.forward(keras.ops.convert_to_tensor(x))
    assert_allclose(y, theirs, atol=1e-12)
    assert_allclose(log_det, their_log_det, rtol=1e-12)
    assert_allclose(coupling.inverse(keras.ops.convert_to_tensor(theirs)), x, atol=1e-12)
    assert_allclose(peer.inverse(np.asarray(y)), x, atol=1e-12)
