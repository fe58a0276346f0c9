"""What the shell offers on Tab. Each function imports what it needs: a command that completes nothing pays nothing."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import typer

from studies.cli.names import STUDIES


def studies(incomplete: str) -> list[str]:
    """The bundled studies, and scripts."""
    return [*_beginning(incomplete, STUDIES), *_paths(incomplete, ".py")]


def datasets(incomplete: str) -> list[str]:
    """The built-in data sets, ``.npz`` files and folders."""
    from bench.data.registry import BUILT_IN

    return [*_beginning(incomplete, BUILT_IN), *_paths(incomplete, ".npz")]


def backends(incomplete: str) -> list[str]:
    """The backends."""
    from bench.runtime.backend import BACKENDS

    return _beginning(incomplete, BACKENDS)


def backends_or_auto(incomplete: str) -> list[str]:
    """The backends, and the word for whichever is faster."""
    from bench.runtime.backend import BACKENDS
    from bench.study.definition import AUTO

    return _beginning(incomplete, (*BACKENDS, AUTO))


def samplers(incomplete: str) -> list[str]:
    """The samplers."""
    from bench.study.definition import SAMPLERS

    return _beginning(incomplete, SAMPLERS)


def pruners(incomplete: str) -> list[str]:
    """The pruners."""
    from bench.study.definition import PRUNERS

    return _beginning(incomplete, PRUNERS)


def engines(incomplete: str) -> list[str]:
    """Who can do the work of a study."""
    return _beginning(incomplete, _choices("engine"))


def extractors(incomplete: str) -> list[str]:
    """The feature extractors of sample quality."""
    return _beginning(incomplete, _choices("extractor"))


def results(incomplete: str) -> list[str]:
    """The published results that can be reproduced."""
    from studies.published import PUBLISHED

    return _beginning(incomplete, tuple(PUBLISHED))


def study_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The studies in the tracking store that the command line names, if they can be listed."""
    uri = ctx.params.get("tracking_uri")
    if uri is None or uri.startswith("sqlite:///"):
        from bench.tracking.reading.sqlite import peek_studies

        output = Path(ctx.params.get("output") or "runs")
        found = peek_studies(output / "mlflow.db" if uri is None else Path(uri.removeprefix("sqlite:///")))
    else:
        from bench.core.errors import TrackingError
        from bench.tracking.reading.reader import list_studies

        try:
            found = list_studies(uri)
        except TrackingError:  # told when the command runs; on Tab there is no place to
            found = []
    return _beginning(incomplete, tuple(dict.fromkeys(found)))


def _choices(setting: str) -> tuple[str, ...]:
    """The values that a setting with fixed choices takes."""
    from bench.study.definition import StudySettings

    annotation = StudySettings.model_fields[setting].annotation
    literals = [annotation, *get_args(annotation)]
    return tuple(choice for each in literals for choice in get_args(each) if isinstance(choice, str))


def _beginning(incomplete: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str, suffix: str) -> list[str]:
    """Folders, and files with a suffix, that begin as typed; hidden ones where a dot was typed."""
    folder, _, name = incomplete.rpartition("/")
    prefix = incomplete[: len(incomplete) - len(name)]
    try:
        entries = sorted(Path(folder or ("/" if prefix else ".")).expanduser().iterdir())
    except OSError:
        return []
    return [
        f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in entries
        if entry.name.startswith(name)
        and (entry.is_dir() or entry.suffix == suffix)
        and (name.startswith(".") or not entry.name.startswith("."))
    ]
