"""The conformance suite: our own families pass it, a user's does, and each check fails where it should."""

import gc
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import typer
from keras import ops
from pydantic import ConfigDict

from bench.checks import conformance
from bench.checks.conformance import CHECKS, CheckResult, Outcome, check_family, registered_by, subject
from bench.checks.conformance import file as conformance_file
from bench.checks.conformance.configuration import configuration_survives_storage, size_is_that_of_the_model
from bench.core.errors import SettingsError
from bench.core.extensions import load_extension
from models.autoregressive.config import AutoregressiveConfig
from models.base import registry
from models.base.config import ModelConfig
from models.base.registry import registered
from models.glow.config import GlowConfig
from models.jet.config import JetConfig
from models.ladder_vae.config import LadderVAEConfig
from models.vae.config import VAEConfig
from studies.cli import check as check_command
from studies.cli.terminal import run_program

MY_MODEL = Path(__file__).resolve().parents[2] / "extensions" / "my_model.py"
OWN = {
    "vae, dense": VAEConfig(hidden_sizes=(16,), latent_size=3),
    "vae, vamp": VAEConfig(hidden_sizes=(16,), latent_size=3, gated=True, prior="vamp", pseudo_inputs=5),
    "vae, flow": VAEConfig(hidden_sizes=(16,), latent_size=3, prior="flow", prior_couplings=2, prior_width=8),
    "vae, residual": VAEConfig(network="residual", hidden_channels=4, downsamplings=1, blocks=1, latent_size=3),
    "glow": GlowConfig(levels=1, flow_depth=2, hidden_channels=8),
    "glow, of classes": GlowConfig(
        levels=1, flow_depth=1, hidden_channels=8, classes=2, dequantisation="variational", permutation="plain"
    ),
    "glow, residual checkerboard": GlowConfig(
        levels=1, flow_depth=1, checkerboard_steps=2, network="residual", hidden_channels=4, blocks=1
    ),
    "glow, mixture": GlowConfig(
        levels=1, flow_depth=2, hidden_channels=8, coupling="mixture_logistic", coupling_components=2
    ),
    "glow, checkerboards of mixtures alone": GlowConfig(
        levels=0, checkerboard_steps=3, hidden_channels=6, coupling="mixture_logistic", coupling_components=2
    ),
    "jet": JetConfig(patch_size=2, couplings=3, width=8, heads=2, patch_split="none"),
    "jet, patches": JetConfig(patch_size=1, couplings=4, channel_couplings=0, width=8, heads=2),
    "jet, both": JetConfig(
        patch_size=2, couplings=6, width=8, heads=2, patch_split="checkerboard", dequantisation="variational"
    ),
    "autoregressive": AutoregressiveConfig(hidden_channels=8, blocks=1, first_kernel=5),
    "ladder vae": LadderVAEConfig(hidden_channels=4, latent_layers=2, latent_channels=2, downsamplings=1),
    "ladder vae, deep": LadderVAEConfig(
        hidden_channels=4, latent_layers=4, latent_channels=1, blocks=2, observation="discretised_logistic"
    ),
}

SLOW = (
    "vae, vamp",
    "vae, flow",
    "vae, residual",
    "glow, of classes",
    "glow, residual checkerboard",
    "glow, mixture",
    "glow, checkerboards of mixtures alone",
    "jet, patches",
    "jet, both",
    "ladder vae, deep",
    "ladder vae",
    "jet",
)


ON_JAX = ("vae, dense",)


def marks(name):
    if name in SLOW:
        return pytest.mark.slow
    return () if name in ON_JAX else pytest.mark.slow_on_jax


def failures(config, checks=CHECKS):
    return {each.check: each.detail for each in check_family(config, checks) if each.outcome == Outcome.FAILED}


@pytest.mark.backend
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in OWN])
def test_our_own_families_conform(name):
    results = list(check_family(OWN[name]))
    assert [each.check for each in results] == [each.__name__.replace("_", " ") for each in CHECKS]
    assert {each.check: each.detail for each in results if each.outcome != Outcome.PASSED} == {}
    assert {each.backend for each in results} == {keras.backend.backend()}


@pytest.mark.backend
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OWN if name.startswith("glow, ") and name != "glow, of classes"])
def test_glows_conform_in_colour(monkeypatch, name):
    monkeypatch.setattr(subject, "COUNTABLE", (((2, 2, 3), 2),))
    monkeypatch.setattr(subject, "SMALL", (((8, 8, 3), 5),))
    assert failures(OWN[name]) == {}


OF_LINES = {
    "vae, dense": VAEConfig(hidden_sizes=(16,), latent_size=3, input_scaling="one_hot"),
    "vae, convolutional": VAEConfig(
        network="convolutional", hidden_channels=8, downsamplings=1, latent_size=3, activation="silu"
    ),
    "vae, recurrent": VAEConfig(network="recurrent", hidden_channels=8, latent_size=2, input_scaling="one_hot"),
    "glow, variational": GlowConfig(levels=1, flow_depth=2, hidden_channels=8, dequantisation="variational"),
    "glow, encoded": GlowConfig(
        levels=1, flow_depth=2, hidden_channels=8, dequantisation="categorical", encoding_channels=2
    ),
    "glow, encoded, of classes": GlowConfig(
        levels=0, checkerboard_steps=2, hidden_channels=8, classes=2, dequantisation="categorical", encoding_channels=2
    ),
    "jet": JetConfig(patch_size=1, couplings=4, channel_couplings=0, width=8, heads=2),
    "jet, encoded": JetConfig(
        patch_size=1, couplings=3, width=8, heads=2, dequantisation="categorical", encoding_channels=2
    ),
    "autoregressive": AutoregressiveConfig(
        hidden_channels=8, blocks=2, first_kernel=5, dilation_cycle=2, input_scaling="one_hot"
    ),
    "ladder vae": LadderVAEConfig(
        hidden_channels=4, latent_layers=2, latent_channels=2, downsamplings=1, input_scaling="one_hot"
    ),
}


@pytest.mark.backend
@pytest.mark.slow
@pytest.mark.parametrize("name", OF_LINES)
def test_families_conform_on_lines(monkeypatch, name):
    monkeypatch.setattr(subject, "COUNTABLE", subject.COUNTABLE[-2:])
    monkeypatch.setattr(subject, "SMALL", subject.SMALL[-1:])
    assert failures(OF_LINES[name]) == {}


@pytest.fixture
def made():
    """The user's family: its configuration, and its class to derive broken ones from."""
    load_extension(MY_MODEL)
    family = registered("made")
    return family.config(hidden_size=16), family.model


@pytest.mark.backend
@pytest.mark.slow_on_jax
def test_the_users_family_of_the_documentation_conforms(made):
    assert failures(made[0]) == {}


@pytest.fixture
def broken(made, monkeypatch):
    """What the checks say of the user's family with some methods replaced, as names of failed checks and why."""
    config, model = made

    def found(*checks, config_size=None, **methods):
        changed = type("Broken", (model,), methods)
        keras.saving.register_keras_serializable("reparam_bench_made")(changed)
        kind = type(config) if config_size is None else type("BrokenConfig", (type(config),), {"size": config_size})
        family = registry.Family("made", "MADE", kind, kind.__module__, None, "", changed)
        monkeypatch.setitem(registry._FAMILIES, "made", family)
        chosen = [each for each in CHECKS if not checks or each.__name__.replace("_", " ") in checks]
        return failures(kind(hidden_size=16), tuple(chosen))

    return found


class Unsaved:
    """A number that no weight holds, another in each model."""

    drawn = iter(np.random.default_rng(0).standard_normal(1000))


def _unsaved(self, *arguments, **options):
    super(type(self), self).__init__(*arguments, **options)
    self.hidden = float(next(Unsaved.drawn))


FAULTS = {
    "the likelihood is not normalised": (
        {"log_prob": lambda self, x, labels=None, training=False: _log_prob(self, x) + 0.5},
        {"probabilities sum to one at most": "at most 1 is possible: log_weights is too high"},
    ),
    "the likelihood of an image depends on its batch": (
        {"log_prob": lambda self, x, labels=None, training=False: _log_prob(self, x) - ops.std(self.as_float(x))},
        {"image does not depend on its batch": "change with the other images of its batch"},
    ),
    "the likelihood sees the value itself": (
        {"first_mask": property(lambda self: 1.0, lambda self, value: None)},
        {"probabilities of a trained model sum to one at most": "at most 1 is possible"},
    ),
    "the weights depend on their number": (
        {"log_weights": lambda self, x, noise, labels=None: _weights(self, x, noise) / noise.shape[0]},
        {"bound rises with samples": "changes with the number of samples"},
    ),
    "the bound is of another number of samples": (
        {"log_prob_bound": lambda self, x, k, seed, labels=None: _log_prob(self, x) - float(np.log(k))},
        {"bound rises with samples": "log_prob_bound gives"},
    ),
    "the log-weights have another shape": (
        {"log_weights": lambda self, x, noise, labels=None: ops.transpose(_weights(self, x, noise))},
        {"bound rises with samples": "log_weights has shape (8, 1) of 1 samples of 8 images, not (1, 8)"},
    ),
    "samples lie outside the range": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: _generate(self, noise, temperature) + 1},
        {"samples are images": "samples hold 1 to 5, not 0 to 4", "samples are as frequent as probable": "1 to 3"},
    ),
    "samples are no integers": (
        {
            "generate": lambda self, noise, temperature=1.0, labels=None: self.as_float(
                _generate(self, noise, temperature)
            )
        },
        {"samples are images": "samples are float32, not integers"},
    ),
    "samples come from another distribution": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: _generate(self, 2 * noise, temperature)},
        {"samples are as frequent as probable": "generate draws from another distribution than log_weights measures"},
    ),
    "samples have a noise of their own": (
        {
            "generate": lambda self, noise, temperature=1.0, labels=None: _generate(
                self, _other(self, noise), temperature
            )
        },
        {"samples are images": "two draws from one seed differ"},
    ),
    "samples do not depend on their noise": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: _generate(self, 0 * noise, temperature)},
        {"samples are images": "two seeds give the same samples"},
    ),
    "the temperature is ignored": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: _generate(self, noise, 1.0)},
        {"temperature 0 gives one image": "samples at temperature 0 differ"},
    ),
    "the gradient does not reach a weight": (
        {"objective": lambda self, x, noise, labels, training: _objective(self, x, lambda p: ops.stop_gradient(p))},
        {
            "gradients are right": "is 0: the objective does not depend on it",
            "training lowers the loss": "",
        },
    ),
    "the gradient is half of what it should be": (
        {"objective": lambda self, x, noise, labels, training: _objective(self, x, _halved)},
        {"gradients are right": "differs by 100% from finite differences"},
    ),
    "the objective is not finite": (
        {"objective": lambda self, x, noise, labels, training: _objective(self, x, lambda p: p / 0.0)},
        {"gradients are right": "is not finite", "training lowers the loss": "within 200 steps"},
    ),
    "training maximises the loss": (
        {"objective": lambda self, x, noise, labels, training: _objective(self, x, lambda p: -p)},
        {"training lowers the loss": "bits_per_dim does not fall"},
    ),
    "something is not saved": (
        {
            "__init__": _unsaved,
            "log_prob": lambda self, x, labels=None, training=False: _log_prob(self, x) - self.hidden,
        },
        {"saved model is the same": "the log-weights change: what decides them is no weight of the model"},
    ),
    "the log-weights are not finite": (
        {"log_prob": lambda self, x, labels=None, training=False: _log_prob(self, x) / 0.0},
        {"compiled program agrees": "100% of the log-weights are not finite"},
    ),
    "what is no number is black": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: ops.maximum(_generate(self, noise, 1.0), 0)},
        {"what is no number is no grey level": "64 of 64 samples look like images though all weights are NaN"},
    ),
    "far noise gives a value of its own": (
        {
            "generate": lambda self, noise, temperature=1.0, labels=None: ops.where(
                ops.reshape(noise, (-1, *self.image_shape)) > 8, 99, _generate(self, noise, 1.0)
            )
        },
        {"what is no number is no grey level": "noise of 8 standard deviations gives the value 99, neither 0 to 4"},
    ),
    "something raises": (
        {"generate": lambda self, noise, temperature=1.0, labels=None: 1 / 0},
        {"samples are images": "ZeroDivisionError: division by zero"},
    ),
}


def _log_prob(model, x):
    flat = ops.reshape(x, (-1, model.dimensions))
    return ops.sum(model.conditionals(flat).log_prob(flat), axis=1)


def _weights(model, x, noise):
    return ops.repeat(_log_prob(model, x)[None], noise.shape[0], axis=0)


def _generate(model, noise, temperature):
    return type(model).__mro__[1].generate(model, noise, temperature)


def _other(model, noise):
    return keras.random.normal(ops.shape(noise), seed=model.seed_generator)


def _objective(model, x, change):
    log_prob = _log_prob(model, x)
    return {"objective": change(log_prob), "bound": log_prob}


def _halved(log_prob):
    return 0.5 * log_prob + ops.stop_gradient(0.5 * log_prob)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check_which_says_why(broken, fault):
    methods, expected = FAULTS[fault]
    found = broken(*expected, **methods)
    assert set(found) == set(expected)
    for check, reason in expected.items():
        assert reason in found[check]


@pytest.mark.parametrize(
    ("change", "reason"), [(1, "parameters on 4x4x1 images, the model has"), (0, "size() says 0 multiplications")]
)
def test_a_wrong_size_fails(broken, made, change, reason):
    def size(self, image_shape, grey_levels):
        right = type(made[0]).size(self, image_shape, grey_levels)
        return type(right)(right.parameters + change, right.multiplications * change)

    assert reason in broken("size is that of the model", config_size=size)["size is that of the model"]


def test_what_does_not_apply_is_skipped(broken, made):
    kind = type("Sizeless", (type(made[0]),), {"size": ModelConfig.size})
    (result,) = check_family(kind(), (size_is_that_of_the_model,))
    assert (result.outcome, "states no size()" in result.detail) == (Outcome.SKIPPED, True)
    config = GlowConfig(levels=3, flow_depth=1, hidden_channels=4)
    (result,) = check_family(
        config, tuple(each for each in CHECKS if each.__name__ == "probabilities_sum_to_one_at_most")
    )
    assert result.outcome == Outcome.SKIPPED
    assert "no images that can be counted are accepted: 2x2x1 of 3 levels: levels=3 squeezes" in result.detail


def test_a_configuration_that_can_be_changed_fails(made):
    thawed = type("Thawed", (type(made[0]),), {"model_config": ConfigDict(frozen=False)})
    (reason,) = failures(thawed(), (configuration_survives_storage,)).values()
    assert "the configuration changes" in reason or "keep ModelConfig's frozen=True" in reason


# The command.


@pytest.fixture
def command(capsys, monkeypatch):
    """Run `check`: exit status, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")
    program = typer.Typer()
    program.command()(check_command.command)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_program(program, "check")
        return ended.value.code, *capsys.readouterr()

    collection = gc.get_threshold()
    yield run
    gc.set_threshold(*collection)


@pytest.mark.slow
def test_the_command_checks_on_both_backends(command):
    status, output, _ = command(MY_MODEL, "--json", "--settings", '{"hidden_size": 8}')
    found = json.loads(output)
    assert not status
    assert found["passed"]
    assert {each["backend"] for each in found["checks"]} == {"tensorflow", "jax"}


def test_the_command_prints_what_failed_and_ends_with_1(command, monkeypatch):
    def results(file, backend, settings):
        yield CheckResult("mine", backend, "samples are images", Outcome.PASSED, "0 to 4")
        yield CheckResult("mine", backend, "gradients are right", Outcome.FAILED, "the gradient of w is 0")

    monkeypatch.setattr(conformance, "check_file", results)
    status, output, _ = command(MY_MODEL)
    assert status == 1
    assert "mine on tensorflow" in output
    assert "mine on jax" in output
    assert output.rstrip().endswith("2 passed, 2 failed")
    assert json.loads(command(MY_MODEL, "--json")[1])["passed"] is False


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "does not exist"),
        ("import no_such_package", [], "line 1: ModuleNotFoundError: No module named 'no_such_package'"),
        (MY_MODEL.read_text(), ["--settings", '{"hidden_size": 0}'], "made: hidden_size=0: Input should be greater"),
        (MY_MODEL.read_text(), ["--settings", "[]"], "is not a JSON object"),
        (MY_MODEL.read_text(), ["--settings", "{"], "is not JSON"),
        (MY_MODEL.read_text(), ["--backend", "torch"], "backend 'torch' is unknown"),
    ],
)
def test_a_file_that_cannot_be_checked_is_one_line(command, monkeypatch, tmp_path, content, arguments, message):
    if "--settings" not in arguments:
        # One of them asks another process, as the command does; the others fail alike in this one.
        monkeypatch.setattr(conformance_file, "run_on_backend", lambda module, *job: conformance_file.run_job(*job))
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    status, _, errors = command(file, "--backend", "tensorflow", *arguments)
    assert status == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_file_without_a_family_is_refused(tmp_path, made):
    assert registered_by(MY_MODEL) == ["made"]
    empty = tmp_path / "empty.py"
    empty.write_text("")
    with pytest.raises(SettingsError, match="registers no model family: it needs register_family"):
        registered_by(empty)
