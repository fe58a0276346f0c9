"""Shell completion. Each function imports what it needs, so that other commands stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import typer

from studies.cli.names import STUDIES


def studies(incomplete: str) -> list[str]:
    """The bundled studies, and scripts."""
    return [*_with_prefix(incomplete, STUDIES), *_paths(incomplete, ".py")]


def datasets(incomplete: str) -> list[str]:
    """The built-in data sets, files of arrays, texts and recordings, and folders."""
    from bench.data.other_formats import SOUNDS, TEXTS
    from bench.data.registry import BUILT_IN

    return [*_with_prefix(incomplete, BUILT_IN), *_paths(incomplete, ".npz", ".npy", *TEXTS, *SOUNDS)]


def text_units(incomplete: str) -> list[str]:
    """What the symbols of text are."""
    from bench.data.preparation import TextUnit

    return _with_prefix(incomplete, get_args(TextUnit))


def sound_encodings(incomplete: str) -> list[str]:
    """How sound becomes levels."""
    from bench.data.preparation import SoundEncoding

    return _with_prefix(incomplete, get_args(SoundEncoding))


def backends(incomplete: str) -> list[str]:
    """The backends."""
    from bench.runtime.backend import BACKENDS

    return _with_prefix(incomplete, BACKENDS)


def backends_or_auto(incomplete: str) -> list[str]:
    """The backends, and ``auto``."""
    from bench.runtime.backend import BACKENDS
    from bench.study.definition import AUTO

    return _with_prefix(incomplete, (*BACKENDS, AUTO))


def samplers(incomplete: str) -> list[str]:
    """The samplers."""
    from bench.study.definition import SAMPLERS

    return _with_prefix(incomplete, SAMPLERS)


def pruners(incomplete: str) -> list[str]:
    """The pruners."""
    from bench.study.definition import PRUNERS

    return _with_prefix(incomplete, PRUNERS)


def engines(incomplete: str) -> list[str]:
    """The executors of a study."""
    return _with_prefix(incomplete, _choices("engine"))


def extractors(incomplete: str) -> list[str]:
    """The feature extractors of sample quality."""
    return _with_prefix(incomplete, _choices("extractor"))


def results(incomplete: str) -> list[str]:
    """The published results."""
    from studies.published import PUBLISHED

    return _with_prefix(incomplete, tuple(PUBLISHED))


def study_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The studies in the command line's tracking server, if they can be listed."""
    uri = ctx.params.get("tracking_uri")
    if uri is None or uri.startswith("sqlite:///"):
        from bench.tracking.reading.sqlite import peek_studies

        output = Path(ctx.params.get("output") or "runs")
        database = output / "mlflow.db" if uri is None else Path(uri.removeprefix("sqlite:///"))
        found = [each.study_id for each in peek_studies(database)]
    else:
        from bench.core.errors import TrackingError
        from bench.tracking.reading.studies import list_studies

        try:
            found = list_studies(uri)
        except TrackingError:  # Reported when the command runs, not while completing.
            found = []
    return _with_prefix(incomplete, tuple(dict.fromkeys(found)))


def _choices(setting: str) -> tuple[str, ...]:
    """The choices of a setting."""
    from bench.study.definition import StudySettings

    annotation = StudySettings.model_fields[setting].annotation
    literals = [annotation, *get_args(annotation)]
    return tuple(choice for each in literals for choice in get_args(each) if isinstance(choice, str))


def _with_prefix(incomplete: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _paths(incomplete: str, *suffixes: str) -> list[str]:
    """Folders, and files with one of the suffixes, that begin with the typed text; hidden ones after a dot."""
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
        and (entry.is_dir() or entry.suffix in suffixes)
        and (name.startswith(".") or not entry.name.startswith("."))
    ]
