"""The package that a final run leaves: what it answers, what it rejects, and that nothing in it is pickled."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_digits

from bench.core.extensions import load_extension
from bench.core.results import RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.location import settle
from bench.tracking.opening import open_study
from bench.tracking.registry import PORT, is_registered, sample_request, serve_command
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.base.registry import registered as registered_family
from models.base.units import bits_per_dim
from models.glow.config import GlowConfig
from models.registry import build_model
from models.vae.config import VAEConfig

CONFIGS = {
    "vae": VAEConfig(hidden_sizes=(8,), latent_size=3),
    "glow": GlowConfig(levels=1, flow_depth=1, hidden_channels=4),
}
STUDY = StudyDescription(
    "tiny-digits-12345678", "tiny", "Does it run?", {}, {}, {}, {"commit": "0" * 40}, DIGITS, "f" * 64
)


def settings_of(family):
    backend = os.environ["KERAS_BACKEND"]
    return RunConfig(model=CONFIGS[family], training=TrainingConfig(), dataset_digest="f", backend=backend)


@pytest.fixture(scope="module", params=CONFIGS)
def registered(request, tmp_path_factory, digits):
    """A registered model as it was, the store that holds it, and its name."""
    folder = tmp_path_factory.mktemp(request.param)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    model = build_model(CONFIGS[request.param], (8, 8, 1), 17)
    model.initialise(digits.tuning.train.images)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(np.asarray(weight) + 0.1 * rng.standard_normal(weight.shape))
    with Tracker(uri, folder / "artifacts", folder / "outbox") as tracker:
        parent = open_study(tracker, STUDY)
        run = parent.start_run("final", "final", request.param, 0, settings_of(request.param))
        run.log_model(model, digits.tuning.validation.images[:1])
        run.finish(RunState.COMPLETE)
        tracker.drain()
    (name,) = parent.register({request.param: parent.children()[0]})
    return model, uri, name


@pytest.fixture(scope="module")
def served(registered):
    """The champion, loaded as `mlflow models serve` loads it."""
    _, uri, name = registered
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.pyfunc.load_model(f"models:/{name}@champion")
    finally:
        mlflow.set_tracking_uri(before)


@pytest.fixture
def sent(digits):
    """Images as they come in: floating-point numbers, as JSON has no others."""
    return digits.tuning.validation.images[:5].astype(np.float64)


def test_scores_are_the_models_own_bound_of_each_image_in_bits_per_dim(registered, served, sent):
    model = registered[0]
    scores = served.predict(sent, params={"importance_samples": 7, "seed": 3})
    bounds = [float(np.asarray(model.log_prob_bound(sent[i : i + 1], 7, seed=3))[0]) for i in range(len(sent))]
    np.testing.assert_allclose(scores, bits_per_dim(np.asarray(bounds), 64), rtol=1e-5)


def test_a_score_depends_neither_on_the_other_images_nor_on_the_batches(served, sent, monkeypatch):
    whole = served.predict(sent, params={"importance_samples": 8})
    np.testing.assert_allclose(served.predict(sent[2:3], params={"importance_samples": 8}), whole[2:3], rtol=1e-6)
    script = served.unwrap_python_model()
    monkeypatch.setitem(type(script)._bits_per_dim.__globals__, "VALUES_PER_BATCH", 3 * 64)
    np.testing.assert_allclose(served.predict(sent, params={"importance_samples": 8}), whole, rtol=1e-5)


@pytest.mark.parametrize("given", [[], None, np.zeros((1, 8, 8, 1))])
def test_samples_are_the_models_own_and_need_no_image(registered, served, given):
    request = {"task": "sample", "n": 3, "temperature": 0.5, "seed": 4}
    np.testing.assert_array_equal(served.predict(given, params=request), registered[0].sample(3, 0.5, seed=4))


def test_samples_without_a_seed_are_others_at_each_request_and_scores_are_not(served, sent):
    first, second = (served.predict([], params={"task": "sample", "n": 8}) for _ in range(2))
    assert (first != second).any()
    assert (served.predict([], params={"task": "sample", "n": 8, "seed": None}) != first).any()
    np.testing.assert_array_equal(served.predict(sent), served.predict(sent, params={"seed": 0}))


def test_the_request_that_the_package_holds_as_an_example_is_answered(registered, served, tmp_path):
    _, uri, name = registered
    version = MlflowClient(tracking_uri=uri).get_model_version_by_alias(name, "champion")
    example = mlflow.artifacts.download_artifacts(f"{version.source}/serving_input_example.json", dst_path=tmp_path)
    request = json.loads(Path(example).read_text())
    assert np.shape(request["inputs"]) == (1, 8, 8, 1)
    np.testing.assert_array_equal(
        served.predict(np.asarray(request["inputs"]), params=request["params"]), served.predict(request["inputs"])
    )


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        (lambda x: x / 16, {}, r"whole numbers from 0 to 16, .* not scaled"),
        (lambda x: x + 10, {}, r"the images hold (1[7-9]|2[0-6])\.0: this model takes whole numbers from 0 to 16"),
        (lambda x: -x, {}, "whole numbers from 0 to 16"),
        (lambda x: x * np.nan, {}, "the images hold nan"),
        (lambda x: x[:, :7], {}, r"the images have shape \(5, 7, 8, 1\): this model takes \(n, 8, 8, 1\)"),
        (lambda x: [[1, 2], [3]], {}, "the images are no array of numbers: "),
        (lambda x: "an image", {}, "the images are no array of numbers: "),
        (lambda x: {"images": x}, {}, "the images are no array of numbers: "),
        (lambda x: [], {}, r"the images have shape \(0,\): this model takes \(n, 8, 8, 1\)"),
        (lambda x: None, {}, r"the images have shape \(\): this model takes \(n, 8, 8, 1\)"),
        (lambda x: x[:0], {}, r"the images have shape \(0, 8, 8, 1\): this model takes \(n, 8, 8, 1\)"),
        (lambda x: x, {"task": "classify"}, "task='classify' is unknown: one of bits_per_dim, sample"),
        (lambda x: x, {"importance_samples": 0}, "importance_samples=0 is out of range: 1 to 10000"),
        (lambda x: x, {"task": "sample", "n": 10**9}, "n=1000000000 is out of range"),
        (lambda x: x, {"task": "sample", "temperature": -0.5}, "temperature=-0.5"),
        (
            lambda x: x,
            {"task": "sample", "seed": -1},
            "seed=-1 is out of range: it takes a number from 0 to 4294967295",
        ),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(served, sent, change, params, message):
    with pytest.raises(MlflowException, match=message):
        served.predict(change(sent), params=params)


def test_the_package_tells_its_use_and_holds_no_pickle(registered, tmp_path):
    _, uri, name = registered
    client = MlflowClient(tracking_uri=uri)
    version = client.get_model_version_by_alias(name, "champion")
    folder = Path(mlflow.artifacts.download_artifacts(version.source, dst_path=str(tmp_path)))
    # Loading the model, as other tests do, makes Python keep the compiled script beside it.
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert {path.suffix for path in files} <= {"", ".json", ".keras", ".py", ".txt", ".yaml"}
    with zipfile.ZipFile(folder / "artifacts" / "model.keras") as archive:
        assert {Path(member).suffix for member in archive.namelist()} == {".json", ".h5"}
    # The protocol's own first bytes, whatever a file is called.
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    described = mlflow.models.Model.load(str(folder))
    assert described.signature.inputs is None
    assert described.metadata == {"image_shape": [8, 8, 1], "grey_levels": 17}
    assert next(param.name for param in described.signature.params.params) == "task"
    requirements = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {
        "mlflow",
        "keras",
        os.environ["KERAS_BACKEND"],
        "numpy",
        "pydantic",
    }
    assert "lowest bits/dim on *validation*" in client.get_registered_model(name).description


def test_a_model_is_served_from_a_folder_that_was_moved(registered, tmp_path):
    model, uri, name = registered
    moved = tmp_path / "moved"
    shutil.copytree(Path(uri.removeprefix("sqlite:///")).parent, moved)
    there = f"sqlite:///{moved / 'mlflow.db'}"
    settle(there).close()
    version = MlflowClient(tracking_uri=there).get_model_version_by_alias(name, "champion")
    assert version.source.startswith((moved / "artifacts").as_uri())
    served = mlflow.pyfunc.load_model(version.source)
    request = {"task": "sample", "n": 2, "seed": 1}
    np.testing.assert_array_equal(served.predict([], params=request), model.sample(2, seed=1))


def test_the_description_of_a_registered_model_holds_the_commands(registered):
    _, uri, name = registered
    client = MlflowClient(tracking_uri=uri)
    description = client.get_registered_model(name).description
    assert f"    {serve_command(uri, name)}\n" in description
    assert f"    {sample_request()}\n" in description
    assert is_registered(uri, name)
    assert not is_registered(uri, f"{name}-other")


def test_a_model_whose_study_has_an_awkward_name_is_registered_under_one_that_is_not(registered, tmp_path):
    _, uri, _ = registered
    with Tracker(uri, tmp_path, tmp_path / "outbox") as tracker:
        parent = open_study(tracker, replace(STUDY, study_id="tiny-a:b/c-1"))
        run = parent.start_run("final", "final", "vae", 0, settings_of("vae"))
        run.log_file("{}", "model/MLmodel")
        run.finish(RunState.COMPLETE)
        tracker.drain()
    assert parent.register({"vae": parent.children()[0]}) == ["reparam-bench.tiny-a-b-c-1.vae"]


ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def served_by_the_command(registered):
    """The command that a study prints, run in a shell on a free port: the port."""
    _, uri, name = registered
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    programs = str(Path(sys.executable).parent)
    process = subprocess.Popen(
        ["bash", "-c", serve_command(uri, name).replace(f"--port {PORT}", f"--port {port}")],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    try:
        while not is_up(port):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def is_up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def shell(command, port):
    """What a command of the documentation prints, once the server is asked at its port."""
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", command.replace(f":{PORT}/", f":{port}/")],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return np.asarray(json.loads(done.stdout)["predictions"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("registered", ["vae", pytest.param("glow", marks=pytest.mark.slow)], indirect=True)
def test_the_printed_commands_and_those_of_the_documentation_work_as_they_stand(served_by_the_command, served):
    port = served_by_the_command
    assert shell(sample_request(), port).shape == (4, 8, 8, 1)
    page = (ROOT / "bench" / "README.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    (requests,) = [block for block in blocks if "invocations" in block]
    samples, scores = re.split(r"\n(?=python)", requests)
    drawn = shell(samples, port)
    assert drawn.shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(shell(samples, port), drawn)
    images = load_digits().images[:2, ..., None]
    np.testing.assert_allclose(shell(scores, port), served.predict(images, params={"importance_samples": 64}))


MY_MODEL = Path(__file__).resolve().parents[2] / "extensions" / "my_model.py"
ELSEWHERE = """
import json, sys
import mlflow, numpy as np
served = mlflow.pyfunc.load_model(sys.argv[1])
images = np.load(sys.argv[2])
scores = served.predict(images, params={"importance_samples": 100})
samples = served.predict([], params={"task": "sample", "n": 3, "seed": 4})
import models
json.dump({"scores": scores.tolist(), "samples": samples.tolist(), "models": models.__file__}, sys.stdout)
"""


@pytest.mark.usefixtures("own_registries")
def test_a_users_family_is_served_in_a_fresh_process_without_its_file(tmp_path, digits):
    from bench.tracking.logged_model import write_package

    source, package, sent = tmp_path / "theirs.py", tmp_path / "package", tmp_path / "sent.npy"
    source.write_text("import scipy.special\n" + MY_MODEL.read_text().replace("made", "mine").replace("Made", "Mine"))
    load_extension(source)
    model = build_model(registered_family("mine").config(hidden_size=8), (8, 8, 1), 17)
    images = digits.tuning.validation.images[:5]
    write_package(model, images[:1], package)
    source.unlink()
    np.save(sent, images.astype(np.float64))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(package), str(sent)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    np.testing.assert_allclose(found["scores"], bits_per_dim(np.asarray(model.log_prob(images)), 64), rtol=1e-5)
    np.testing.assert_array_equal(found["samples"], model.sample(3, seed=4))
    assert Path(found["models"]).is_relative_to(package)
    assert (package / "artifacts" / "theirs.py").is_file()
    assert not list(package.rglob("*.pkl"))
    requirements = {line.partition("==")[0] for line in (package / "requirements.txt").read_text().split()}
    assert "scipy" in requirements
    assert "reparam-bench" not in requirements
    # Where the file is still at hand, as here, the copy in the package changes nothing.
    kept = registered_family("mine")
    mlflow.pyfunc.load_model(str(package))
    assert registered_family("mine") is kept


def test_a_file_s_imports_are_found_wherever_they_stand(tmp_path):
    from bench.tracking.logged_model import imported_packages

    file = tmp_path / "mine.py"
    file.write_text("import os, scipy.stats\nfrom . import own\ndef f():\n    from bench.core import results\n")
    assert imported_packages(file) == {"scipy", "bench"}
    file.write_text("from reparam_bench import LikelihoodModel, register_metric\n")
    assert imported_packages(file) == {"reparam_bench", "models", "bench"}
    file.write_text("import reparam_bench as rb\n")
    assert imported_packages(file) == {"reparam_bench", "models", "bench", "reports", "studies"}
