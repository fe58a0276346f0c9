"""Closed forms against quadrature and small simulations; the statistics of gradients against their definitions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

from bench.core.errors import SettingsError
from bench.data.bundled import DIGITS
from bench.study.definition import BoundStudy
from bench.workflows.gradients import closed_forms
from bench.workflows.gradients.jackknife import jackknife
from bench.workflows.gradients.settings import GradientSettings


def test_the_jackknife_of_a_mean_is_its_standard_error():
    blocks = np.random.default_rng(0).standard_normal((20, 3))
    found = jackknife(lambda mean: mean, blocks)
    assert_allclose(found.value, blocks.mean(axis=0))
    assert_allclose(found.standard_error, blocks.std(axis=0, ddof=1) / np.sqrt(20))


def test_the_jackknife_of_a_ratio_covers_the_truth_as_often_as_it_should():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = jackknife(lambda mean: mean[0] / mean[1], 3 + rng.standard_normal((40, 2)))
        hits += abs(found.value - 1) < 2 * found.standard_error
    assert 180 <= hits < 200


def test_one_block_has_no_error():
    with pytest.raises(ValueError, match="at least 2 blocks, got 1"):
        jackknife(lambda mean: mean, np.ones((1, 2)))


def integral(function):
    """E of a function of a standard normal number, by quadrature."""
    return quad(lambda u: function(u) * norm.pdf(u), -12, 12, limit=400)[0]


@pytest.mark.parametrize("s", [0.3, 0.851, 2.0])
def test_the_cosines_variances_by_quadrature(s):
    assert_allclose(closed_forms.cosine_pathwise_variance(s), integral(lambda u: (s * np.sin(s * u)) ** 2), rtol=1e-8)
    assert_allclose(closed_forms.cosine_score_variance(s), integral(lambda u: (np.cos(s * u) * u) ** 2), rtol=1e-8)


def test_the_cosine_turns_in_favour_of_the_score_function_at_0_851():
    crossing = closed_forms.cosine_crossing()
    assert round(crossing, 3) == 0.851
    for s, pathwise_is_better in ((0.99 * crossing, True), (1.01 * crossing, False)):
        better = closed_forms.cosine_pathwise_variance(s) < closed_forms.cosine_score_variance(s)
        assert better == pathwise_is_better


def test_the_quadratics_ratio_in_one_dimension_by_quadrature():
    pathwise = integral(lambda u: (2 * u) ** 2)
    assert_allclose(integral(lambda u: (u**2 * u) ** 2) / pathwise, closed_forms.quadratic_ratio(1))
    with_baseline = integral(lambda u: ((u**2 - 1) * u) ** 2) / pathwise
    assert_allclose(with_baseline, closed_forms.quadratic_ratio_with_baseline(1))


def test_importance_weighted_gradients_against_finite_differences_of_the_bound():
    """The IWAE's is the derivative of log mean w along the paths; DReG weighs the frozen-q paths by w̃²."""
    noise = np.random.default_rng(0).standard_normal((6, 5))
    offset, variance, step = 0.4, 0.7, 1e-6
    posterior_mean = 0.5

    def log_w(offset, frozen=None):
        z = posterior_mean + offset + np.sqrt(variance) * noise
        mean = posterior_mean + (offset if frozen is None else frozen)
        return norm.logpdf(z) + norm.logpdf(1.0, z) - norm.logpdf(z, mean, np.sqrt(variance))

    iwae, dreg = closed_forms.importance_weighted_gradients(noise, offset, variance)
    bounds = [np.log(np.exp(log_w(offset + sign * step)).mean(axis=1)) for sign in (1, -1)]
    assert_allclose(iwae, (bounds[0] - bounds[1]) / (2 * step), rtol=1e-6)
    paths = (log_w(offset + step, frozen=offset) - log_w(offset - step, frozen=offset)) / (2 * step)
    weights = np.exp(log_w(offset))
    weights /= weights.sum(axis=1, keepdims=True)
    assert_allclose(dreg, (weights**2 * paths).sum(axis=1), rtol=1e-6)


def test_both_importance_weighted_gradients_have_one_mean():
    noise = np.random.default_rng(0).standard_normal((200_000, 4))
    iwae, dreg = closed_forms.importance_weighted_gradients(noise, 0.5, 2 / 3)
    difference = iwae - dreg
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(noise))
    assert abs(dreg.mean()) > 20 * difference.std() / np.sqrt(len(noise))


@pytest.fixture(scope="module")
def measured():
    return closed_forms.measure(8192, seed=1)


def test_the_four_outcomes_come_out_within_their_errors(measured):
    outcomes = measured.outcomes
    away = (outcomes["measured"] - outcomes["closed_form"]).abs()
    assert (away <= 4 * outcomes["standard_error"] + outcomes["tolerance"]).all()
    assert set(outcomes["outcome"]) == {"quadratic", "cosine", "signal_to_noise", "sticking_the_landing", "step"}


def test_the_errors_are_small_enough_for_a_wrong_closed_form_to_show(measured):
    outcomes = measured.outcomes.set_index(["outcome", "case"])
    quadratic = outcomes.loc["quadratic"]
    assert (quadratic["standard_error"] < 0.1 * quadratic["closed_form"]).all()
    assert outcomes.loc[("cosine", "crossing"), "standard_error"] < 0.02
    slopes = outcomes.loc["signal_to_noise"]
    assert slopes.loc["doubly_reparameterised", "standard_error"] < 0.02
    assert slopes.loc["iwae", "measured"] < 0 < slopes.loc["doubly_reparameterised", "measured"]
    assert outcomes.loc[("sticking_the_landing", "exact posterior"), "tolerance"] < 1e-25


def test_off_the_posterior_sticking_the_landing_has_a_variance(measured):
    landing = measured.landing[measured.landing["estimator"] == "sticking_the_landing"].sort_values("offset")
    assert (np.diff(landing["variance"]) > 0).all()
    assert landing["variance"].iloc[1] > 1e-4


def test_the_same_seed_draws_the_same_numbers():
    first, second, other = (closed_forms.measure_quadratic(16, seed) for seed in (3, 3, 4))
    assert first.equals(second)
    assert not np.allclose(first["ratio"], other["ratio"])


def test_gradient_noise_is_the_variance_and_the_ratio_that_gaussian_gradients_have():
    from bench.workflows.gradients.encoder_gradients import gradient_noise

    rng = np.random.default_rng(0)
    mean, scale = np.array([0.3, -0.1, 0.0]), np.array([1.0, 0.5, 2.0])
    noise = gradient_noise(mean + scale * rng.standard_normal((3205, 3)))
    variance = (scale**2).sum()
    snr = np.sqrt((mean**2).sum() / variance)
    assert abs(noise.variance.value - variance) < 4 * noise.variance.standard_error
    assert abs(noise.snr.value - snr) < 4 * noise.snr.standard_error
    assert noise.variance.standard_error < 0.05 * variance
    assert noise.snr.standard_error < 0.3 * snr


def test_pure_noise_has_no_signal_and_no_noise_no_finite_ratio():
    from bench.workflows.gradients.encoder_gradients import gradient_noise

    pure = gradient_noise(np.random.default_rng(0).standard_normal((320, 200)))
    assert pure.snr.value < 0.03  # 1/√320 = 0.06 if the noise in the mean were taken for signal
    still = gradient_noise(np.ones((32, 4)))
    assert still.variance.value == 0
    assert still.snr.value == np.inf
    with pytest.raises(ValueError, match="at least 32 gradients, got 31"):
        gradient_noise(np.ones((31, 4)))


def test_a_setting_out_of_range_is_named_with_its_value():
    with pytest.raises(SettingsError, match=r"draws=3: .*greater than or equal to 128"):
        GradientSettings.from_options({"draws": 3})
    with pytest.raises(SettingsError, match="colour"):
        GradientSettings.from_options({"colour": "red"})


@pytest.mark.parametrize("smoke", [False, True])
def test_each_estimator_is_an_arm_of_a_name_of_its_own_of_which_nothing_is_swept(smoke):
    settings = GradientSettings.from_options({"smoke": smoke})
    bound = BoundStudy(settings.study, settings.study_settings, DIGITS, "d")
    assert len({arm.model for arm in bound.study.arms}) == len(bound.study.arms) == (3 if smoke else 8)
    assert not any(arm.sweep for arm in bound.study.arms)
    assert bound.runs == len(bound.study.arms) * settings.seeds
    assert all(
        bound.base(arm).model.gradient_estimator == each.estimator
        for arm, each in zip(bound.study.arms, settings.trained, strict=True)
    )


def test_what_changes_the_numbers_beside_training_has_a_fingerprint_of_its_own():
    own = ({"seed": 1}, {"draws": 128}, {"gradient_draws": 64}, {"gradient_images": 4}, {"smoke": True})
    changes = ({}, *own, {"images": 300_000})
    prints = {GradientSettings.from_options(each).fingerprint for each in changes}
    assert len(prints) == len(changes)
    assert GradientSettings.from_options({"output": "elsewhere", "workers": 2}).fingerprint in prints


@pytest.mark.backend
def test_encoder_gradients_of_the_vae(images):
    """Same seed, same gradients; the estimators differ in noise and agree in their mean."""
    from bench.workflows.gradients.encoder_gradients import encoder_gradients, with_estimator
    from models.vae.config import VAEConfig
    from models.vae.model import VAE

    vae = VAE(VAEConfig(hidden_sizes=(4,), latent_size=2), (8, 8, 1), 17)
    pathwise = encoder_gradients(vae, images[:8], 48, seed=0)
    assert pathwise.shape == (48, sum(int(np.prod(w.shape)) for w in vae.encoder.trainable_variables))
    landing = encoder_gradients(with_estimator(vae, "sticking_the_landing", 1), images[:8], 48, seed=0)
    difference = pathwise - landing
    assert np.abs(difference).max() > 1e-3
    error = difference.std(axis=0, ddof=1) / np.sqrt(48)
    assert (np.abs(difference.mean(axis=0)) < 5 * error + 1e-5).all()
    again = with_estimator(with_estimator(vae, "doubly_reparameterised", 3), "pathwise", 1)
    assert_allclose(encoder_gradients(again, images[:8], 2, seed=0), pathwise[:2], rtol=1e-4, atol=1e-5)
