"""Files of the user's own on the command line: what they add, and what is wrong with them in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import Arm, Integers, Study
from bench.core import extensions
from bench.core.extensions import load_extension
from bench.data.bundled import load_digits
from bench.execution.executors.local import worker_command
from bench.study.definition import BoundStudy, StudySettings
from models.base.registry import _FAMILIES
from models.vae.config import VAEConfig

pytestmark = pytest.mark.usefixtures("own_registries")
ROOT = Path(__file__).resolve().parents[2]
EXTENSIONS = ROOT / "tests" / "extensions"
STUDY = """
from bench import Arm, Integers, Study
from models import VAEConfig

STUDY = Study("mine", "What?", (Arm(VAEConfig(), {"latent_size": Integers(2, 64)}),))
"""


def forget() -> None:
    """As another process, which has loaded nothing yet."""
    extensions._loaded.clear()
    extensions._code.clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"extension 'mine\.py' does not exist: the path of a \.py file is accepted"),
        ("x = 1\ny = nothing\n", r"'\S+mine\.py' cannot be run, line 2: NameError: name 'nothing' is not defined"),
        ("import models.nothing\n", r"line 1: .*'models' is a package of reparam-bench: .*rename it"),
    ],
)
@pytest.mark.parametrize("command", [("study", "latent_size"), ("study", "latent_size", "--dry-run"), ("report",)])
def test_a_file_that_cannot_be_imported_is_refused(refused, tmp_path, command, text, message):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    refused(message, *command, "--extension", "mine.py")


def test_a_file_that_registers_nothing_is_fine_unless_it_is_given_as_a_study(cli, refused, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    code, out, err = cli("study", "latent_size", "--extension", "mine.py", "--dry-run")
    assert (code, err) == (0, "")
    assert "Nothing was run." in out
    refused(r"'mine\.py' declares no study: it needs STUDY = Study", "study", "mine.py")


def test_a_data_set_of_one_s_own_is_known_by_its_name(cli, refused):
    refused(r"there is no data set 'stripes'", "study", "latent_size", "--dataset", "stripes")
    arguments = ("study", "latent_size", "--dataset", "stripes", "--dry-run")
    code, out, err = cli(*arguments, "--extension", str(EXTENSIONS / "my_dataset.py"))
    assert (code, err) == (0, "")
    assert "data      stripes: 4x4x1, 4 grey levels, grey; 84 train, 12 validation, 24 test" in out


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("hides", ["models/__init__.py", "models.py", "studies/__init__.py"])
def test_a_file_that_hides_a_package_of_ours_is_named_with_the_way_out(tmp_path, hides):
    (tmp_path / hides).parent.mkdir(exist_ok=True)
    (tmp_path / hides).touch()
    package, place = Path(hides).parts[0].removesuffix(".py"), tmp_path / hides.removesuffix("/__init__.py")
    (tmp_path / "my_study.py").write_text(STUDY)
    ended = python(tmp_path, "my_study.py")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: reparam-bench's package '{package}' is hidden by {place}: import from `reparam_bench`, which "
        "finds its own packages first, or rename that"
    )


def test_the_command_finds_its_own_packages_beside_a_file_of_their_name(tmp_path):
    (tmp_path / "models.py").touch()
    (tmp_path / "my_study.py").write_text(STUDY)
    # -P: as the installed command, which does not look for packages in the current folder.
    program = "from studies.cli.main import main; main()"
    ended = python(tmp_path, "-P", "-c", program, "study", "my_study.py", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "mine: What?" in ended.stdout


@pytest.fixture
def begun(tmp_path):
    """Opens a study of the user's own arms, with whatever is registered by then; its identifier."""

    def begin(*arms: Arm) -> str:
        from bench.execution.session import open_session

        digits = load_digits()
        settings = StudySettings(output=tmp_path / "runs", backend=os.environ["KERAS_BACKEND"])
        bound = BoundStudy(Study("mine", "What?", arms), settings, digits.info, digits.digest, digits.labels_digest)
        open_session(bound).tracker.close()
        return bound.study_id

    return begin


def test_a_worker_finds_a_model_of_the_user_s_own_in_the_file_that_it_is_given(cli, begun):
    """Its study has ended, so that it joins and leaves."""
    mine = EXTENSIONS / "my_model.py"
    study_id = begun(Arm(load_extension(mine).module.MadeConfig(hidden_size=8), {"hidden_size": Integers(4, 16)}))
    del _FAMILIES["made"]
    forget()
    code, _, err = cli("worker", study_id, "--quiet")
    assert code == 2
    assert "this study uses my_model.py, which is not loaded here: give --extension" in err
    assert cli("worker", study_id, "--quiet", "--extension", str(mine)) == (0, "", "")
    assert worker_command(study_id, Path("runs"))[-2:] == ["--extension", str(mine)]


def test_a_worker_without_a_file_that_the_study_needs_is_refused_with_the_way_out(cli, begun, tmp_path):
    """So is one that has another version of it."""
    load_extension(EXTENSIONS / "my_metric.py")
    study_id = begun(Arm(VAEConfig()))
    changed = tmp_path / "my_metric.py"
    changed.write_text((EXTENSIONS / "my_metric.py").read_text() + "# changed\n")
    for given, message in (
        ((), "this study uses my_metric.py, which is not loaded here: give --extension PATH/my_metric.py"),
        (("--extension", str(changed)), "my_metric.py has other content here"),
    ):
        forget()
        code, out, err = cli("worker", study_id, *given)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert message in line
