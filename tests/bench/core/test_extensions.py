"""A user's own files: imported once, refused in one line, and part of a study's code if results depend on them."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from bench.core.errors import SettingsError
from bench.core.extensions import check_extensions, code_extensions, load_extension, loaded_extensions, mark_as_code

pytestmark = pytest.mark.usefixtures("own_registries")
EXTENSIONS = Path(__file__).resolve().parents[2] / "extensions"


@pytest.fixture
def file(tmp_path):
    """Writes a user's file."""

    def write(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, r"extension '\S+gone.py' does not exist: the path of a \.py file"),
        ("notes.txt", "x = 1", r"extension '\S+notes.txt' is not a Python file"),
        ("mine.py", "x = 1\n\ny = x / 0\n", r"'\S+mine.py' cannot be run, line 3: ZeroDivisionError"),
        ("mine.py", "def f():\n    raise OSError('no\\nluck')\n\nf()\n", r"line 2: OSError: no"),
        ("mine.py", "x = (\n", r"'\S+mine.py' cannot be run.*SyntaxError.*line 1"),
        ("mine.py", "import sys\nsys.exit(3)\n", r"line 2: SystemExit: 3"),
        ("mine.py", "import no_such_library\n", r"line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("mine.py", "import models.nothing\n", r"line 1: .*'models' is a package of reparam-bench: .*rename it"),
        ("mine.py", "import models\nmodels.mine\n", r"line 2: .*'models' is a package of reparam-bench: .*rename it"),
        ("mine.py", "from bench import nothing\n", r"line 1: .*'bench' is a package of reparam-bench"),
        (
            "mine.py",
            "from bench import Arm\nfrom models import VAEConfig\nArm(VAEConfig(), name='final')\n",
            r"line 3: an arm cannot be called 'final'",
        ),
        (
            "mine.py",
            "from bench import register_metric\nregister_metric('Bad name', label='x', definition='x')\n",
            r"line 2: metric 'Bad name': a name has lower-case letters",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_its_line_and_the_reason(file, tmp_path, name, text, message):
    path = tmp_path / name if text is None else file(text, name)
    before = set(sys.modules)
    with pytest.raises(SettingsError, match=message):
        load_extension(path)
    assert loaded_extensions() == []
    assert not any(module.startswith("reparam_bench_extension") for module in set(sys.modules) - before)


def test_a_file_is_imported_once_for_each_content_of_it(file, monkeypatch, tmp_path):
    counted = tmp_path / "imports.txt"
    path = file(f"with open({str(counted)!r}, 'a') as file:\n    file.write('once\\n')\nx = 1\n")
    first = load_extension(path)
    monkeypatch.chdir(tmp_path)
    assert load_extension("mine.py") is first
    path.write_text(path.read_text() + "x = 2\n")
    assert load_extension(path).module.x == 2
    assert counted.read_text() == "once\n" * 2
    assert [each.path for each in loaded_extensions()] == [path.resolve()]


def test_two_files_of_one_name_do_not_mix_and_may_import_the_files_beside_them(file):
    file("x = 'beside'\n", "beside_mine.py")
    one, other = file("from beside_mine import x\n"), file("x = 'other'\n", "other/mine.py")
    assert [load_extension(each).module.x for each in (one, other, one)] == ["beside", "other", "beside"]
    assert str(one.parent) not in sys.path


def test_only_files_that_results_depend_on_are_a_study_s_code(file):
    load_extension(file("x = 1\n", "nothing.py"))
    for name in ("my_metric.py", "my_dataset.py"):
        load_extension(EXTENSIONS / name)
    assert [each.path.name for each in code_extensions()] == ["my_dataset.py", "my_metric.py"]


class Callable:
    def __call__(self) -> None: ...


def in_a_notebook() -> None: ...


in_a_notebook.__module__ = "__a_notebook__"


@pytest.mark.parametrize(
    ("function", "has_file"),
    [
        (in_a_notebook, False),
        (len, False),
        (Callable.__call__, True),
        (Callable(), True),
        (partial(partial(Callable())), True),
    ],
)
def test_the_file_that_defines_a_function_is_a_study_s_code_if_there_is_one(function, has_file):
    mark_as_code(function)
    assert [each.path for each in code_extensions()] == [Path(__file__).resolve()] * has_file


def test_a_file_that_a_study_uses_must_be_here_with_the_same_content():
    metric = load_extension(EXTENSIONS / "my_metric.py")
    check_extensions([("my_metric.py", metric.digest[:12])])
    with pytest.raises(
        SettingsError, match=r"uses my_dataset.py, which is not loaded here: give --extension PATH/my_d"
    ):
        check_extensions([("my_dataset.py", "0" * 12)])
    with pytest.raises(SettingsError, match=rf"my_metric.py .*{metric.digest[:12]}.*{'0' * 12}"):
        check_extensions([("my_metric.py", "0" * 12)])
