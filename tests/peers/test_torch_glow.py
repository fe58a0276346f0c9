"""The Glow in plain PyTorch that ours is timed beside is a flow: its inverse and its log-determinants are right."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is of the extra `peers`: make test-peers")

from tests.benchmarks.peers.torch_glow import PlainGlow, Step  # noqa: E402
from tests.benchmarks.peers.works import GlowWork  # noqa: E402

WORK = GlowWork(2, 2, 6, 8, (4, 4, 2), network="residual", blocks=1, checkerboard_steps=2)


def perturbed(module):
    """The module with weights that differ from those of its beginning, its actnorms kept as they are."""
    with torch.no_grad():
        for each in module.parameters():
            each += 0.1 * torch.randn_like(each)
    for step in [each for each in module.modules() if isinstance(each, Step)]:
        step.is_initialised = True
    return module.double()


@pytest.mark.parametrize("side", [None, (4, 3)], ids=["channels", "checkerboard"])
def test_a_step_has_its_inverse_and_its_log_determinant(side) -> None:
    torch.manual_seed(0)
    step = perturbed(Step(4, WORK, side, 1))
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    y, log_det = step(x)
    torch.testing.assert_close(step.inverse(y), x)
    for one, expected in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda each: step(each[None])[0][0], one)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian.reshape(48, 48))[1], expected)


def test_samples_are_images_of_finite_density() -> None:
    torch.manual_seed(0)
    flow = perturbed(PlainGlow(WORK))
    drawn = flow.double().sample(3)
    assert drawn.shape == (3, 2, 4, 4)
    assert torch.isfinite(flow.log_prob(drawn)).all()
