"""``import reparam_bench`` in a user's project, which may have folders that are called like our packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench
import models
import reports

ROOT = Path(__file__).resolve().parents[3]
STUDY = """
from reparam_bench import Arm, Integers, Study, VAEConfig, run_script

STUDY = Study("mine", "What?", (Arm(VAEConfig(), {"latent_size": Integers(2, 64)}),))

if __name__ == "__main__":
    run_script(__file__)
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Empty, as in a user's shell: the installed packages come behind the script's own folder.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def last_line(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stderr.strip().splitlines()[-1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with packages of its own called like each of ours."""
    for package in ("bench", "models", "reports", "studies"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "models" / "mine.py").write_text("x = 1\n")
    return tmp_path


def test_a_study_script_runs_beside_packages_of_our_names(project):
    (project / "my_study.py").write_text(STUDY)
    ended = python(project, "my_study.py", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "mine: What?" in ended.stdout


def test_a_script_of_one_s_own_model_runs_there_too_and_starts_again_on_its_backend(project):
    (project / "my_study.py").write_text(f"import keras\n{STUDY}")
    ended = python(project, "my_study.py", "--dry-run", "--backend", "jax")
    assert ended.returncode == 0, ended.stderr
    assert "mine: What?" in ended.stdout


def test_every_process_that_a_study_starts_finds_our_packages(project):
    program = """
import os, subprocess, sys
import reparam_bench
from bench.core.environment import search_path

names = "import models, reports, studies, bench; print(*(each.__file__ for each in (bench, models, reports, studies)))"
environment = {**os.environ, "PYTHONPATH": search_path()}
print(subprocess.run([sys.executable, "-P", "-c", names], env=environment, capture_output=True, text=True).stdout)
"""
    (project / "script.py").write_text(program)
    ended = python(project, "script.py")
    assert ended.stdout.split() == [
        str(ROOT / name / "__init__.py") for name in ("bench", "models", "reports", "studies")
    ]


def test_a_package_that_is_hidden_then_is_named_with_the_way_out(project):
    (project / "script.py").write_text("import reparam_bench\nimport models.mine\n")
    ended = python(project, "script.py")
    assert ended.returncode == 1
    assert last_line(ended) == (
        "ModuleNotFoundError: no module 'models.mine': after `import reparam_bench` 'models' is reparam-bench's own "
        f"package, and {project / 'models'} is hidden: rename that folder, or load the file by --extension"
    )


def test_a_module_that_nobody_has_is_missing_as_ever(tmp_path):
    (tmp_path / "script.py").write_text("import reparam_bench\nimport models.mine\n")
    assert last_line(python(tmp_path, "script.py")) == "ModuleNotFoundError: No module named 'models.mine'"


def test_a_package_of_the_user_s_that_is_imported_already_is_named(project):
    (project / "script.py").write_text("import models\nimport reparam_bench\n")
    ended = python(project, "script.py")
    assert last_line(ended) == (
        f"ImportError: 'models' is imported already, from {project / 'models' / '__init__.py'}, and reparam-bench has "
        "a package of that name: one process cannot hold both, so rename yours, or import reparam_bench first if you "
        "do not need it here"
    )


def test_it_offers_what_the_packages_offer_and_imports_no_framework(tmp_path):
    program = """
import sys
import reparam_bench
assert "keras" not in sys.modules and "mlflow" not in sys.modules and "pandas" not in sys.modules
print(*dir(reparam_bench))
"""
    (tmp_path / "script.py").write_text(program)
    ended = python(tmp_path, "script.py")
    assert ended.stdout.split() == sorted({*bench.__all__, *models.__all__, *reports.__all__, "run_script"})


def test_a_name_that_imports_keras_leaves_the_terminal_to_the_user(tmp_path):
    (tmp_path / "script.py").write_text("from reparam_bench import load_model\nprint(load_model.__name__)\n")
    ended = python(tmp_path, "script.py")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "load_model\n", "")


def test_every_name_is_the_package_s_own_and_none_stands_for_two():
    import reparam_bench

    for package in (bench, models, reports):
        for name in package.__all__:
            assert getattr(reparam_bench, name) is getattr(package, name)
    names = [*bench.__all__, *models.__all__, *reports.__all__]
    assert len(names) == len(set(names))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        reparam_bench.nothing  # noqa: B018
