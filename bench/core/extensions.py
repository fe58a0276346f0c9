"""A user's own files: importing one registers its models, metrics, figures, data sets or studies.

A file is imported again only if its content changes. Its digest is part of the version of a study's code, so that a
worker or a later process that holds another version of the file is refused.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from bench.core.digests import file_digest
from bench.core.errors import ReparamBenchError, SettingsError
from bench.core.packages import OWN_PACKAGES
from bench.core.validation import format_validation_error
from models.base.registry import FamilyError, families

_PREFIX = "reparam_bench_extension_"


@dataclass(frozen=True)
class Extension:
    """A user's file that was imported.

    Attributes:
        path: where it lies.
        digest: SHA-256 of its content.
        module: what it defines; None of a file that another one imported.
    """

    path: Path
    digest: str
    module: ModuleType | None = None


_loaded: dict[Path, Extension] = {}
_code: set[Path] = set()


def load_extension(file: Path | str) -> Extension:
    """Import a user's file, unless the same content is loaded already.

    Raises:
        SettingsError: there is no such file, or it cannot be imported; the message says at which line, and why.
    """
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        wrong = "does not exist" if not path.exists() else "is not a Python file"
        raise SettingsError(f"extension {str(path)!r} {wrong}: the path of a .py file is accepted")
    path = path.resolve()
    digest = file_digest(path)
    known = _loaded.get(path)
    if known is None or known.digest != digest:
        known = _loaded[path] = Extension(path, digest, _import(path, digest))
    return known


def loaded_extensions() -> list[Extension]:
    """The files that this process has imported, by name."""
    return sorted(_loaded.values(), key=lambda each: each.path.name)


def mark_as_code(function: object) -> None:
    """Record that results depend on the file of a function, a metric or a data set; models are registered elsewhere."""
    while isinstance(function, functools.partial):
        function = function.func
    file = getattr(sys.modules.get(str(getattr(function, "__module__", ""))), "__file__", None)
    if file is not None:  # There is none where it was typed into a notebook.
        _code.add(Path(file).resolve())


def code_extensions() -> list[Extension]:
    """The user's files that results depend on, by name: all but those that register only figures."""
    # As they were when they were imported: a file may have changed since.
    digests = {family.source: family.digest for family in families().values() if family.source is not None}
    found = [
        _loaded.get(path) or Extension(path, digests.get(path) or file_digest(path)) for path in {*_code, *digests}
    ]
    return sorted(found, key=lambda each: each.path.name)


def extension_digests() -> dict[str, str]:
    """The digest of each file that results depend on, by its name; part of the version of the code."""
    return {each.path.name: each.digest[:12] for each in code_extensions()}


def check_extensions(wanted: Iterable[tuple[str, str]]) -> None:
    """Check that a study's files (name, first digits of the digest) are imported here with the same content.

    Raises:
        SettingsError: one is missing, or has other content.
    """
    here = extension_digests()
    for name, digest in wanted:
        if name not in here:
            raise SettingsError(f"this study uses {name}, which is not loaded here: give --extension PATH/{name}")
        if here[name] != digest:
            raise SettingsError(
                f"{name} has other content here (digest {here[name]}) than where the study began ({digest})"
            )


def _import(path: Path, digest: str) -> ModuleType:
    # Under a unique name: it shadows no other module, and two files of one name do not mix.
    name = f"{_PREFIX}{path.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"extension {str(path)!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # It may import the files beside it; last, so that none of them hides a library.
    sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # The file is the user's: it may raise anything.
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {lines[-1]}" if lines else ""
        raise SettingsError(f"{str(path)!r} cannot be run{where}: {_describe_error(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _describe_error(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return format_validation_error(error)
    missing = ""
    if isinstance(error, ImportError):
        missing = str(error.name)
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        missing = error.obj.__name__
    package = missing.partition(".")[0]
    if package in OWN_PACKAGES:
        return (
            f"{error}; {package!r} is a package of reparam-bench: if yours has that name too, rename it or import your "
            "module under another name"
        )
    return str(error) if isinstance(error, ReparamBenchError | FamilyError) else f"{type(error).__name__}: {error}"
