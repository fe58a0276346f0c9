"""A study as JSON, from which workers rebuild it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.errors import SettingsError
from bench.core.extensions import _code, _loaded, load_extension
from bench.data.preparation import Preparation
from bench.runtime.provenance import code_version
from bench.study import serialization as specification
from bench.study.config import TrainingConfig
from bench.study.definition import Arm, BoundStudy, Study
from bench.study.search_space import Choices, Integers, Reals
from bench.study.serialization import check_code, from_json, to_json
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig
from studies.cli.loading import load_study
from studies.cli.names import STUDIES

EXTENSIONS = Path(__file__).resolve().parents[2] / "extensions"


@pytest.fixture
def bound(digits, settings_for, tmp_path):
    def make(study, **changes):
        return BoundStudy(study, settings_for(tmp_path, **changes), digits.info, digits.digest, digits.labels_digest)

    return make


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_comes_back_as_it_was(bound, tmp_path, name):
    one = bound(load_study(name), storage=None)
    back = from_json(json.loads(json.dumps(to_json(one))), None, None, tmp_path)
    assert replace(back, earlier={}) == one
    assert [back.base(arm) for arm in one.study.arms] == [one.base(arm) for arm in one.study.arms]
    assert back.study_id == one.study_id


def test_how_images_are_read_and_the_names_of_their_classes_come_back(bound, tmp_path):
    one = bound(load_study(STUDIES[0]), storage=None, resize=8, grey=True, train_images=500)
    one = replace(
        one, info=replace(one.info, class_names=tuple("0123456789"), split_off=("validation", "test")), held_out="h"
    )
    back = from_json(json.loads(json.dumps(to_json(one))), None, None, tmp_path)
    assert replace(back, earlier={}) == one
    assert back.settings.preparation == Preparation(None, (8, 8), True, 500)


SWEPT = {
    "clip_norm": Reals(1, 2.0),
    "training.optimizer": Choices(("adam", "adamax")),
    "warmup_steps": Choices((100, 5), when={"optimizer": "adam"}),
    "batch_size": Integers(32, 64, log=True, when={"optimizer": ("adam", "adamax"), "warmup_steps": 5}),
}


def test_named_arms_with_conditions_come_back_as_they_were_and_unset_training_stays_unset(bound, tmp_path):
    small = VAEConfig(hidden_sizes=(8, 8), latent_size=2)
    arms = (
        Arm(small, SWEPT, TrainingConfig(warmup_steps=5, images=640), name="swept"),
        Arm(small, name="fixed"),
        Arm(GlowConfig(levels=1), training=TrainingConfig()),
    )
    one = bound(
        Study(name="own", question="Does it?", arms=arms, sampler="RandomSampler"),
        storage=None,
        images=None,
        batch_size=None,
    )
    back = from_json(json.loads(json.dumps(to_json(one))), None, None, tmp_path)
    assert replace(back, earlier={}) == one
    assert [back.base(arm) for arm in one.study.arms] == [one.base(arm) for arm in one.study.arms]
    assert back.study_id == one.study_id
    assert [arm.training.model_fields_set for arm in back.study.arms] == [arm.training.model_fields_set for arm in arms]
    # What was set decides the budget: 640 images here, by the data there.
    assert [back.base(arm).training.images for arm in back.study.arms][::2] == [640, 60 * 256]


@pytest.mark.usefixtures("own_registries")
def test_a_study_names_the_files_that_it_needs_and_is_refused_without_them(bound, tiny_study, tmp_path):
    needed = load_extension(EXTENSIONS / "my_metric.py")
    one = bound(tiny_study)
    written = json.loads(json.dumps(to_json(one)))
    assert from_json(written, None, None, tmp_path).study_id == one.study_id
    _loaded.clear()
    _code.clear()
    with pytest.raises(SettingsError, match=r"uses my_metric.py, which is not loaded here: give --extension"):
        from_json(written, None, None, tmp_path)
    copy = tmp_path / "my_metric.py"
    copy.write_text(needed.path.read_text() + "# changed\n")
    load_extension(copy)
    with pytest.raises(SettingsError, match=r"my_metric.py .* content"):
        from_json(written, None, None, tmp_path)


def test_no_address_is_in_it(bound, tiny_study):
    one = bound(
        tiny_study, storage="postgresql://me:secret@host/db", tracking_uri="https://me:secret@mlflow.example.org"
    )
    assert "secret" not in json.dumps(to_json(one))


def test_who_does_the_work_is_not_in_it(bound, tiny_study):
    written = to_json(bound(tiny_study, engine="ray", address="host:6379", gpus_per_trial=0.5, workers=3))
    assert not {"engine", "address", "cpus_per_trial", "gpus_per_trial", "workers"} & set(written["settings"])


def test_other_code_is_refused_unless_it_is_asked_for(bound, tiny_study, monkeypatch, tmp_path):
    one = bound(tiny_study)
    written = to_json(one)
    ours = code_version(one.settings.backend)
    monkeypatch.setattr(specification, "code_version", lambda backend: ours | {"code": "0123456789ab", "keras": "9.9"})
    with pytest.raises(SettingsError) as raised:
        from_json(written, None, None, tmp_path)
    assert f"code {ours['code']} then, 0123456789ab now; keras {ours['keras']} then, 9.9 now" in str(raised.value)
    assert "--mixed-code" in str(raised.value)
    check_code(written, mixed=True)


def test_a_study_that_comes_out_as_another_is_refused(bound, tiny_study, tmp_path):
    written = to_json(bound(tiny_study))
    written["settings"]["seed"] = 99
    with pytest.raises(SettingsError, match="becomes tiny-digits-"):
        from_json(written, None, None, tmp_path)


def test_the_code_version_depends_on_every_source_file_and_of_nothing_else(tmp_path, monkeypatch):
    from bench.runtime import provenance

    for package in ("bench", "models", "reports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "bench" / "runtime" / "provenance.py"))
    before = provenance.code_version("jax")
    (tmp_path / "reports" / "a.py").write_text("x = 2\n")
    (tmp_path / "bench" / "notes.txt").write_text("x")
    assert provenance.code_version("jax") == before
    (tmp_path / "models" / "a.py").write_text("x = 2\n")
    after = provenance.code_version("jax")
    assert after["code"] != before["code"]
    assert {name: after[name] for name in after if name != "code"} == {
        name: before[name] for name in before if name != "code"
    }
