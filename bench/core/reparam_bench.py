"""The one import name of an installed reparam-bench: everything public of `bench`, `models`, `reports` and `studies`.

    from reparam_bench import Arm, GlowConfig, Integers, Study, VAEConfig, run_script, run_study

Installing puts this file beside the four packages as the module ``reparam_bench``. It works in a project that has
folders of those names too, such as a ``models/`` of its own: whatever comes first on the path, the four are imported
from where reparam-bench lies. Nothing is imported before it is needed. Standard library only, as a served model has it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench import *  # noqa: F403
    from models import *  # noqa: F403
    from reports import *  # noqa: F403
    from studies.cli.main import run_script as run_script

_PACKAGES = ("bench", "models", "reports", "studies")
_MARK = Path("models", "base", "likelihood_model.py")
"""A file by which the folder is known that holds the packages; a served model has only some of them."""


def _root() -> Path:
    # A loaded MLflow model puts its own copy on the path.
    imported = [Path(place).parent for place in getattr(sys.modules.get("models"), "__path__", ())]
    places = [*imported, Path(__file__).parent, *map(Path, sys.path)]
    found = next((place for place in places if (place / _MARK).is_file()), None)
    if found is None:
        raise ImportError(f"reparam-bench is not installed here: no folder of sys.path holds {_MARK}")
    return found.resolve()


class _Hidden(MetaPathFinder):
    """Says why a module of the user's is not found: its package has the name of one of ours."""

    def __init__(self, places: dict[str, str]) -> None:
        self.places = places

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing: every other finder was asked before."""
        package = fullname.partition(".")[0]
        if package in self.places:
            raise ModuleNotFoundError(
                f"no module {fullname!r}: after `import reparam_bench` {package!r} is reparam-bench's own package, and "
                f"{self.places[package]} is hidden: rename that folder, or load the file by --extension",
                name=fullname,
            )
        return None


def _import_packages(root: Path) -> None:
    """Import our packages, wherever else the path has folders of their names.

    Raises:
        ImportError: another package of such a name is imported already.
    """
    hidden = {}
    for package in _PACKAGES:
        place = root / package
        if not place.is_dir():
            continue
        known = sys.modules.get(package)
        if known is not None and place not in [Path(each).resolve() for each in getattr(known, "__path__", ())]:
            where = getattr(known, "__file__", None) or "a namespace"
            raise ImportError(
                f"{package!r} is imported already, from {where}, and reparam-bench has a package of that name: one "
                "process cannot hold both, so rename yours, or import reparam_bench first if you do not need it here"
            )
        spec = PathFinder.find_spec(package)
        first = next(iter(spec.submodule_search_locations or ()), "") if spec is not None else ""
        if first and Path(first).resolve() != place:
            hidden[package] = first
    sys.path.insert(0, str(root))
    try:
        for package in _PACKAGES:
            if (root / package).is_dir():
                import_module(package)
    finally:
        sys.path.remove(str(root))
    if hidden:
        sys.meta_path.append(_Hidden(hidden))


_import_packages(_root())


def _quiet_start() -> AbstractContextManager[None]:
    """Hold back what TensorFlow writes where a name imports Keras; a served model has no harness for that."""
    if "bench" not in sys.modules or "keras" in sys.modules:
        return nullcontext()
    held: AbstractContextManager[None] = import_module("bench.runtime.backend").hold_back_stderr()
    return held


def __getattr__(name: str) -> Any:
    if name == "run_script":
        return import_module("studies.cli.main").run_script
    for package in ("bench", "models", "reports"):
        module = sys.modules.get(package)
        if module is not None and name in module.__all__:
            with _quiet_start():
                return getattr(module, name)
    raise AttributeError(f"module 'reparam_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    names = {
        name
        for package in ("bench", "models", "reports")
        if package in sys.modules
        for name in sys.modules[package].__all__
    }
    return sorted({"run_script", *names})
