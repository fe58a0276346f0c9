"""The list of settings that can be swept: each is there, with what it takes."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, TypeAdapter

from bench.study.config import TrainingConfig
from bench.study.settings import list_settings
from models.base.config import ModelConfig
from models.families import AutoregressiveConfig, GlowConfig, JetConfig, LadderVAEConfig, VAEConfig
from tests.bench.core.test_reparam_bench import ROOT

CONFIGS = (VAEConfig, GlowConfig, JetConfig, LadderVAEConfig, AutoregressiveConfig, TrainingConfig)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_is_listed_with_its_values_default_and_meaning(config):
    settings = {setting.name: setting for setting in list_settings(config)}
    assert set(settings) == set(config.model_fields) - {"family"}
    for name, setting in settings.items():
        assert setting.values, name
        assert setting.meaning.endswith("."), name
        assert "`" not in setting.meaning, name
        default = config.model_fields[name].default
        shown = str(default).lower() if isinstance(default, bool) or default is None else str(default)
        assert setting.default == shown


def test_what_is_said_to_be_accepted_is():
    settings = {setting.name: setting.values for setting in list_settings(VAEConfig)}
    assert settings["latent_size"] == "whole from 1 to 65536"
    assert settings["hidden_sizes"] == "tuple, each whole from 1"
    assert settings["hidden_width"] == "whole from 1 or none"
    assert settings["dropout"] == "real from 0 below 1"
    assert settings["network"] == "dense, convolutional, residual, recurrent"
    for name, values in (("latent_size", (1, 65536)), ("dropout", (0.0, 0.999)), ("hidden_width", (1, None))):
        for value in values:
            assert getattr(VAEConfig(**{name: value}), name) == value
    assert {setting.name: setting.values for setting in list_settings(TrainingConfig)}[
        "learning_rate"
    ] == "real above 0"
    assert TypeAdapter(TrainingConfig).validate_python({"learning_rate": 1e-9}).learning_rate == 1e-9


def test_a_setting_without_a_default_or_with_a_made_one_says_so():
    class Own(ModelConfig):
        family: Literal["own"] = "own"
        width: int
        sizes: tuple[int, ...] = Field(default_factory=lambda: (1, 2))

    assert [setting.default for setting in list_settings(Own)] == ["none, it is required", "(1, 2)"]


def test_the_readme_names_every_setting():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [s.name for config in CONFIGS for s in list_settings(config) if f"`{s.name}`" not in text]
    assert missing == []
