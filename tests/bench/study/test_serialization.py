"""A study as JSON, from which workers rebuild it."""

from __future__ import annotations

import json

import pytest

from bench.core.errors import SettingsError
from bench.runtime.provenance import code_version
from bench.study import serialization as specification
from bench.study.definition import Arm, BoundStudy, Study
from bench.study.search_space import Choices, Reals
from bench.study.serialization import check_code, from_json, to_json
from models.vae.config import VAEConfig
from studies.cli.loading import load_study
from studies.cli.names import STUDIES


@pytest.fixture
def bound(digits, settings_for, tmp_path):
    def make(study, **changes):
        return BoundStudy(study, settings_for(tmp_path, **changes), digits.info, digits.digest)

    return make


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_comes_back_as_it_was(bound, tmp_path, name):
    one = bound(load_study(name), storage=None)
    back = from_json(json.loads(json.dumps(to_json(one))), None, None, tmp_path)
    assert back == one
    assert back.study_id == one.study_id


def test_a_users_own_sweep_comes_back_too(bound, tmp_path):
    family = Arm(
        VAEConfig(hidden_sizes=(8, 8), latent_size=2),
        sweep={
            "clip_norm": Reals(1, 2.0),
            "warmup_steps": Choices((100, 5)),
            "decay": Choices(("constant", "plateau")),
        },
    )
    one = bound(Study(name="own", question="Does it?", arms=(family,)), storage=None)
    assert from_json(json.loads(json.dumps(to_json(one))), None, None, tmp_path).study_id == one.study_id


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
    with pytest.raises(SettingsError, match="comes out as tiny-digits-"):
        from_json(written, None, None, tmp_path)


def test_the_code_version_tells_of_every_source_file_and_of_nothing_else(tmp_path, monkeypatch):
    from bench.runtime import provenance

    for package in ("bench", "models", "reports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "bench" / "provenance.py"))
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
