"""Our Glow beside normflows', weights copied over: needs the packages of the extra ``peers``."""

import pytest
from numpy.testing import assert_allclose

from tests.peers.glow_cases import CASES, inputs, make_split_priors_constant, perturbed_glow, program

pytest.importorskip("normflows", reason="normflows is of the extra `peers`: make test-peers")

from tests.peers.normflows_glow import Peer

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
