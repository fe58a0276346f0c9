"""Diagnostics against what is known: latents that are or are not used, flows that are or are not invertible."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.core.results import TABLES, Measurement
from bench.evaluation import evaluator
from bench.evaluation.diagnostics import Diagnostics
from models.autoregressive.config import AutoregressiveConfig
from models.glow.config import GlowConfig
from models.glow.diagnostics import convolutions
from models.ladder_vae.config import LadderVAEConfig
from models.registry import build_model
from models.vae.config import VAEConfig

pytestmark = pytest.mark.backend


def by_name(measurements):
    return {row.metric: row for row in measurements}


@pytest.mark.parametrize(("kind", "error"), [("image", 0.5), ("text", None), ("audio", None)])
def test_of_windows_that_resemble_their_neighbours_no_error_is_given(kind, error):
    measured = [Measurement("diagnostics", "kl_nats", 3.0, 0.5, 64)]
    context = SimpleNamespace(
        seed=0,
        images=None,
        programs=SimpleNamespace(diagnostics=SimpleNamespace(measure=lambda images, seed: (measured, {}))),
        protocol=SimpleNamespace(info=SimpleNamespace(kind=kind)),
    )
    assert [row.standard_error for row in evaluator._diagnostics(context).measurements] == [error]


@pytest.fixture
def vae(perturb):
    return perturb(build_model(VAEConfig(hidden_sizes=(16,), latent_size=3), (8, 8, 1), 17), scale=0.2)


def test_the_kl_of_each_latent_is_that_of_its_posterior(vae, images):
    measured, tables = Diagnostics(vae).measure(images, seed=0)
    posterior = vae.posterior(images)
    mean, log_scale = (np.asarray(part, dtype=np.float64) for part in (posterior.mean, posterior.log_scale))
    kl = 0.5 * (mean**2 + np.exp(2 * log_scale) - 1) - log_scale
    table = tables["latents"]
    assert list(table) == TABLES["latents"]
    np.testing.assert_allclose(table["kl_nats"], kl.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(table["variance_of_mean"], mean.var(axis=0, ddof=1), rtol=1e-4)
    total = by_name(measured)["kl_nats"]
    assert total.value == pytest.approx(kl.sum(axis=1).mean(), rel=1e-4)
    assert total.standard_error == pytest.approx(kl.sum(axis=1).std(ddof=1) / 8, rel=1e-4)


def test_a_latent_whose_mean_does_not_move_has_collapsed(vae, images):
    last = vae.encoder.layers[-1]
    kernel, bias = (np.asarray(weight).copy() for weight in (last.kernel, last.bias))
    kernel[:, [1, 4]], bias[[1, 4]] = 0.0, 0.0  # mean and log-scale of the second of three latents
    last.kernel.assign(kernel)
    last.bias.assign(bias)
    measured, tables = Diagnostics(vae).measure(images, seed=0)
    assert tables["latents"]["active"].tolist() == [True, False, True]
    assert tables["latents"]["kl_nats"][1] == pytest.approx(0.0, abs=1e-6)
    assert by_name(measured)["active_units"].value == 2
    assert by_name(measured)["collapsed_share"].value == pytest.approx(1 / 3)


@pytest.fixture
def ladder(perturb):
    config = LadderVAEConfig(hidden_channels=4, latent_layers=3, latent_channels=2)
    return perturb(build_model(config, (8, 8, 1), 17), scale=0.2)


@pytest.mark.slow_on_jax
def test_the_kl_of_each_layer_is_that_of_its_latents(ladder, images):
    measured, tables = Diagnostics(ladder).measure(images, seed=0)
    noise = np.random.default_rng(0).standard_normal((1, len(images), ladder.latents), dtype=np.float32)
    posteriors = ladder.infer(images, noise).posteriors
    flat = [
        [np.asarray(part[0], np.float64).reshape(len(images), -1) for part in (each.mean, each.log_scale)]
        for each in posteriors
    ]
    kl = [(0.5 * (mean**2 + np.exp(2 * log_scale) - 1) - log_scale).mean(axis=0) for mean, log_scale in flat]
    latents, layers = tables["latents"], tables["latent_layers"]
    assert list(latents) == TABLES["latents"]
    assert list(layers) == TABLES["latent_layers"]
    np.testing.assert_allclose(latents["kl_nats"], np.concatenate(kl), rtol=1e-3, atol=1e-5)
    variance = np.concatenate([mean.var(axis=0, ddof=1) for mean, _ in flat])
    np.testing.assert_allclose(latents["variance_of_mean"], variance, rtol=1e-3, atol=1e-6)
    assert layers["latents"].tolist() == [8, 32, 32]
    np.testing.assert_allclose(layers["kl_nats"], [each.sum() for each in kl], rtol=1e-3)
    assert by_name(measured)["kl_nats"].value == pytest.approx(layers["kl_nats"].sum(), rel=1e-5)
    assert layers["active_units"].sum() == by_name(measured)["active_units"].value == latents["active"].sum()


@pytest.mark.slow_on_jax
def test_a_layer_whose_posterior_is_its_prior_has_no_active_unit(ladder, images):
    for weight in ladder.top_down.layers[1].posterior_moments.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    _, tables = Diagnostics(ladder).measure(images, seed=0)
    assert tables["latent_layers"]["kl_nats"][1] == pytest.approx(0.0, abs=1e-6)
    assert tables["latent_layers"]["active_units"][1] == 0
    assert tables["latent_layers"]["active_units"][0] == 8


@pytest.fixture
def glow(perturb, images):
    model = build_model(GlowConfig(levels=2, flow_depth=1, hidden_channels=4), (8, 8, 1), 17)
    model.initialise(images)
    return perturb(model, scale=0.1)


@pytest.mark.slow_on_jax
def test_a_sound_flow_comes_back_to_where_it_began(glow, images):
    measured, _ = Diagnostics(glow).measure(images[:8], seed=0)
    assert 0 < by_name(measured)["round_trip_error"].value < 1e-3


@pytest.mark.slow_on_jax
def test_a_nearly_singular_convolution_shows_in_condition_and_round_trip(glow, images):
    diagnostics = Diagnostics(glow)
    sound = by_name(diagnostics.measure(images[:8], seed=0)[0])
    repeated = glow.chains[0].bijections[1]
    steps = repeated.unrolled()
    packed = np.array(steps[0].convolution.packed)
    packed[0, 0] = -16.0
    steps[0].convolution.packed.assign(packed)
    repeated.become(steps)
    broken = by_name(diagnostics.measure(images[:8], seed=0)[0])
    assert broken["condition_number"].value > 1e4 * sound["condition_number"].value
    assert broken["round_trip_error"].value > 10 * sound["round_trip_error"].value


@pytest.mark.slow_on_jax
def test_each_convolution_has_its_row(glow):
    table = convolutions(glow)
    assert list(table) == TABLES["convolutions"]
    assert [table[name].tolist() for name in ("level", "step", "channels")] == [[0, 1], [0, 0], [4, 8]]
    matrix = np.asarray(glow.chains[1].bijections[1].unrolled()[0].convolution.matrix(), dtype=np.float64)
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert table["condition_number"][1] == pytest.approx(singular[0] / singular[-1], rel=1e-4)
    assert table["log_abs_det"][1] == pytest.approx(np.log(singular).sum(), abs=1e-4)


def test_a_family_without_diagnostics_has_none(images):
    model = build_model(AutoregressiveConfig(hidden_channels=4, blocks=0), (8, 8, 1), 17)
    assert Diagnostics(model).measure(images, seed=0) == ([], {})
