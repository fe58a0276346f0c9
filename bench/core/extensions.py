"""A user's own files: models, metrics, figures, data sets and studies, each registered by the file that is imported.

A file is imported once for each content of it. Its path and digest are kept: they are part of a study's code, so that a
worker or a later process that holds another version of it is refused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from bench.core.errors import ReparamBenchError, SettingsError
from bench.core.validated import explained
from models.base.registry import FamilyError, families

OWN_PACKAGES = ("bench", "models", "reports", "studies")
_PREFIX = "reparam_bench_extension_"


@dataclass(frozen=True)
class Extension:
    """A user's file that was imported.

    Attributes:
        path: where it lies.
        digest: SHA-256 of its content.
        module: what it defines.
    """

    path: Path
    digest: str
    module: ModuleType


_loaded: dict[Path, Extension] = {}
_code: set[Path] = set()


def load_extension(file: Path | str) -> Extension:
    """Import a user's file; one that is loaded already, and unchanged, is not imported again.

    Raises:
        SettingsError: there is no such file, or it cannot be imported; the message names its line and the reason.
    """
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        wrong = "does not exist" if not path.exists() else "is not a Python file"
        raise SettingsError(f"extension {str(path)!r} {wrong}: the path of a .py file is accepted")
    path = path.resolve()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = _loaded.get(path)
    if known is None or known.digest != digest:
        known = _loaded[path] = Extension(path, digest, _imported(path, digest))
    return known


def loaded_extensions() -> list[Extension]:
    """The files that this process has imported, in the order of their names."""
    return sorted(_loaded.values(), key=lambda each: each.path.name)


def mark_as_code(source: Path) -> None:
    """Note that results depend on a file: it registers a metric or a data set. Models note that themselves."""
    _code.add(source.resolve())


def code_extensions() -> list[Extension]:
    """The imported files that results depend on; one that registers figures alone is none of them."""
    code = _code | {family.source for family in families().values() if family.source is not None}
    return [each for each in loaded_extensions() if each.path in code]


def digests() -> dict[str, str]:
    """The digest of each file that results depend on, by its name: part of the code's version."""
    return {each.path.name: each.digest[:12] for each in code_extensions()}


def check_extensions(wanted: Iterable[tuple[str, str]]) -> None:
    """Check that a study's files (name, first digits of the digest) are imported here in the same version.

    Raises:
        SettingsError: one is missing, or is another.
    """
    here = digests()
    for name, digest in wanted:
        if name not in here:
            raise SettingsError(f"this study uses {name}, which is not loaded here: give --extension PATH/{name}")
        if here[name] != digest:
            raise SettingsError(
                f"{name} is another file here (digest {here[name]}) than the study began with ({digest})"
            )


def _imported(path: Path, digest: str) -> ModuleType:
    # Under a name of its own, so that it hides no other module and two files of one name do not mix.
    name = f"{_PREFIX}{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"extension {str(path)!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # The file is the user's: it may raise anything.
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise SettingsError(f"{str(path)!r} cannot be run{where}: {_reason(error)}") from error
    return module


def _reason(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return explained(error)
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] in OWN_PACKAGES:
        package = str(error.name).partition(".")[0]
        return (
            f"{error}; {package!r} is a package of reparam-bench: if yours has that name too, rename it or import your "
            "module under another name"
        )
    return str(error) if isinstance(error, ReparamBenchError | FamilyError) else f"{type(error).__name__}: {error}"
