"""What comes from outside is data: nothing in the project unpickles, evaluates or unpacks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bench", "models", "reports", "studies")
RUNS_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "yaml"}
"""Modules whose way to read a file may run what it holds."""
SAFE = {"load": ("allow_pickle", False), "read_array": ("allow_pickle", False), "load_model": ("safe_mode", True)}
"""Of NumPy and Keras: how each must be called, whatever the default of their next version."""


UNSAFE = {
    "read_pickle",
    "to_pickle",
    "unpack_archive",
    "extractall",
    "enable_unsafe_deserialization",
    "run_path",
    "exec_module",
}
BUILT_IN = {"eval", "exec", "compile"}
"""Python's own functions; methods have these names too."""
ALLOWED = {
    # What a user names on the command line or in Python is the user's own program.
    "bench/core/extensions.py": {"exec_module"},
    # A model package holds the file that registers its family, as it holds the code that serves it.
    "bench/tracking/served_model.py": {"exec_module"},
}
OWN_LOADER = "models.registry"
"""Its ``load_model`` calls Keras's in safe mode."""


def name_of(call: ast.Call) -> tuple[str, str]:
    """What a call is of, as far as it stands there: ``np``, ``load``."""
    if isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value), call.func.attr
    return "", call.func.id if isinstance(call.func, ast.Name) else ""


def offences(source: str) -> Iterator[str]:
    """What in a module might run or unpack what a file holds."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == OWN_LOADER]
    own = {alias.asname or alias.name for node in imports for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in RUNS_CODE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUNS_CODE:
            yield str(node.module)
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            yield "shell"
        elif isinstance(node, ast.Call):
            of, name = name_of(node)
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if not of and name in own:
                continue
            if name in SAFE and (name != "load" or of in ("np", "numpy")):
                option, value = SAFE[name]
                if not (isinstance(given.get(option), ast.Constant) and given[option].value is value):
                    yield f"{name} without {option}={value}"
            elif name in UNSAFE or (name in BUILT_IN and not of):
                yield name


def modules() -> list[str]:
    return [str(path.relative_to(ROOT)) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("module", modules())
def test_no_module_runs_what_a_file_holds(module):
    assert set(offences((ROOT / module).read_text(encoding="utf-8"))) == ALLOWED.get(module, set())


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import joblib.memory",
        "from cloudpickle import loads",
        "import numpy as np; np.load(x)",
        "import numpy as np; np.load(x, allow_pickle=True)",
        "import numpy as np; np.load(x, allow_pickle=trusted)",
        "import numpy as np; np.lib.format.read_array(x)",
        "import keras; keras.saving.load_model(x)",
        "import keras; keras.saving.load_model(x, safe_mode=False)",
        "from keras.saving import load_model; load_model(x)",
        "spec.loader.exec_module(module)",
        "import keras; keras.config.enable_unsafe_deserialization()",
        "import mlflow; mlflow.pyfunc.load_model(x)",
        "import pandas as pd; pd.read_pickle(x)",
        "eval(x)",
        "tar.extractall(x)",
        "import shutil; shutil.unpack_archive(x)",
        "import subprocess; subprocess.run(x, shell=True)",
        "import runpy; runpy.run_path(x)",
    ],
)
def test_what_runs_what_a_file_holds_is_seen(source):
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np; np.load(x, allow_pickle=False)",
        "import keras; keras.saving.load_model(x, safe_mode=True)",
        "from models.registry import load_model; load_model(x)",
        "import json; json.load(x)",
        "model.compile(optimizer)",
        "re.compile(x)",
    ],
)
def test_what_reads_data_is_let_be(source):
    assert not list(offences(source))
