"""The door for a family: what it takes, what it rejects, and what importing it does not import."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from models.base import registry
from models.base.config import ModelConfig
from models.base.registry import FamilyError, families, register_family, registered
from models.families import OWN_FAMILIES, AnyModelConfig
from models.glow.config import GlowConfig

ROOT = Path(__file__).resolve().parents[3]
FAMILY = """
from typing import Literal
from models import ModelConfig, register_family
class {name}(ModelConfig):
    family: Literal["{family}"] = "{family}"
    width: int = 3
register_family({name}, "{model}", title="Ours")
"""


class Holder(BaseModel):
    model: AnyModelConfig


@pytest.fixture(autouse=True)
def _families_as_they_were(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", {name: registered(name) for name in OWN_FAMILIES})


@pytest.fixture
def write(tmp_path):
    """Write and import a file that registers a family."""

    def written(file="mine.py", name="MineConfig", family="mine", model="no_module:Mine"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAMILY.format(name=name, family=family, model=model))
        spec = importlib.util.spec_from_file_location(f"user_{path.parent.name}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return path

    return written


def test_own_families_come_by_the_same_door():
    for name in OWN_FAMILIES:
        family = registered(name)
        assert family.config.model_fields["family"].default == name
        assert family.source is None
        assert family.keras_package == "reparam_bench"
    assert [registered(name).title for name in OWN_FAMILIES] == ["VAE", "Glow", "PixelCNN", "Ladder VAE", "Jet"]


def test_a_configuration_finds_its_class_and_is_stored_with_all_its_fields(write):
    path = write()
    family = registered("mine")
    assert family.source == path
    assert family.keras_package == "reparam_bench_mine"
    held = Holder.model_validate({"model": {"family": "mine", "width": 5}})
    assert type(held.model) is family.config
    assert held.model_dump(mode="json") == {"model": {"family": "mine", "width": 5}}
    assert Holder.model_validate_json(held.model_dump_json()) == held
    assert TypeAdapter(AnyModelConfig).validate_python(GlowConfig()) == GlowConfig()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"family": "mine"},
            "family='mine' is unknown: one of vae, glow, autoregressive, ladder_vae, jet; .* --extension FILE",
        ),
        ({"width": 3}, "names its family: one of vae, glow"),
        (3, "names its family: one of vae, glow"),
        ({"family": "glow", "levels": -1}, "greater than or equal to 0"),
        ({"family": "glow", "width": 0}, "Extra inputs"),
    ],
)
def test_a_configuration_of_no_family_is_refused_with_those_there_are(value, message):
    with pytest.raises(ValidationError, match=message):
        Holder.model_validate({"model": value})


def test_the_same_file_replaces_another_is_refused_and_a_copy_changes_nothing(write):
    first = write()
    write(name="Renamed")
    assert registered("mine").config.__name__ == "Renamed"
    with pytest.raises(FamilyError, match=r"'mine' is registered twice, by .*mine\.py and by .*other\.py: rename"):
        write("other.py")
    kept = registered("mine")
    write("packed/mine.py", name="Renamed")
    assert registered("mine") is kept
    assert kept.source == first
    with pytest.raises(FamilyError, match=r"'glow' is registered twice, by models\.glow\.config and by .*flow\.py"):
        write("flow.py", family="glow")


class Nameless(ModelConfig):
    width: int = 3


class Shouting(ModelConfig):
    family: Literal["A Family"] = "A Family"


class Named(ModelConfig):
    family: Literal["named"] = "named"


@pytest.mark.parametrize(
    ("config", "model", "message"),
    [
        (dict, "m:M", "is no subclass of models.ModelConfig"),
        (Nameless, "m:M", "Nameless gives its family no name: it needs family: Literal"),
        (Shouting, "m:M", "small letters, digits and underscores, got 'A Family'"),
        (Named, dict, "is no subclass of models.LikelihoodModel"),
    ],
)
def test_what_is_no_family_is_refused(config, model, message):
    with pytest.raises(FamilyError, match=message):
        register_family(config, model)
    assert list(families()) == list(OWN_FAMILIES)


@pytest.mark.parametrize("model", ["no_module:Mine", "models.base.units:Mine", "models.base.size:Size"])
def test_a_model_that_cannot_be_imported_is_named(write, model):
    write(model=model)
    with pytest.raises(FamilyError, match="family='mine'"):
        _ = registered("mine").model


def test_what_the_package_offers_is_there_and_names_import_no_more_than_they_need():
    script = (
        "import sys, models; assert not {'keras', 'pydantic'} & set(sys.modules); models.ModelConfig; "
        "assert 'keras' not in sys.modules; [getattr(models, name) for name in models.__all__]; "
        "assert set(models._MODULES) == set(models.__all__) == set(dir(models))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env={**os.environ, "KERAS_BACKEND": "jax"})
    import models

    with pytest.raises(AttributeError, match="no attribute 'VAEConf'"):
        _ = models.VAEConf
