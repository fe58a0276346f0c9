"""Our Glow beside normflows', weights copied over: needs the packages of the extra ``peers``."""

import pytest
from glow_cases import CASES, decode, encode, inputs, make_split_priors_constant, perturbed_glow
from numpy.testing import assert_allclose

pytest.importorskip("normflows", reason="normflows is of the extra `peers`: make test-peers")

from normflows_glow import Peer

pytestmark = [pytest.mark.backend, pytest.mark.usefixtures("float64")]


@pytest.mark.parametrize("name", CASES)
def test_log_p_is_that_of_normflows_multiscale_flow(name):
    model, y = perturbed_glow(name), inputs(name)
    make_split_priors_constant(model)
    theirs = Peer(model).log_prob(y)
    assert theirs.std() > 1
    assert_allclose(encode(model, y)[1], theirs, rtol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_conditional_split_priors_are_pytorchs_gaussians_and_each_decodes_what_the_other_encodes(name):
    model, y = perturbed_glow(name), inputs(name)
    peer = Peer(model)
    ours, log_prob = encode(model, y)
    assert_allclose(log_prob, peer.conditional_log_prob(y), rtol=1e-11)
    theirs = peer.encode(y)
    for mine, other in zip(ours, theirs, strict=True):
        assert_allclose(mine, other, atol=1e-11)
    assert_allclose(decode(model, theirs), y, atol=1e-9)
    assert_allclose(peer.decode(ours), y, atol=1e-9)
