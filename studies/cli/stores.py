"""Finds the tracking server and the studies that a command names."""

from __future__ import annotations

from pathlib import Path


def find_tracking_store(tracking_uri: str | None, output: Path) -> str:
    """The given tracking server, or the output folder's database.

    Raises:
        TrackingError: the folder has none.
    """
    from bench.core.errors import TrackingError

    if tracking_uri is not None:
        return tracking_uri
    try:
        database = output.resolve() / "mlflow.db"
        exists = database.is_file()
    except (OSError, RuntimeError) as error:
        raise TrackingError(f"output={str(output)!r} cannot be opened ({error}): give another") from error
    if not exists:
        raise TrackingError(f"{database} does not exist: run a study first, or give --output or --tracking-uri")
    return f"sqlite:///{database}"


def find_one(name: str, known: list[str], where: str) -> str:
    """The one of some studies that has a name as identifier or as prefix.

    Args:
        name: the name.
        known: identifiers of the studies.
        where: where they are, for messages, such as `` in runs``.

    Raises:
        TrackingError: no study or several match.
    """
    from bench.core.errors import TrackingError

    studies = list(dict.fromkeys(known))
    # The empty name is a prefix of every identifier.
    matches = [name] if name in studies else [study_id for study_id in studies if name and study_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise TrackingError(f"{name!r} is a prefix of {', '.join(matches)}: give more of it")
    held = f"it holds {', '.join(studies)}" if studies else "it holds none"
    raise TrackingError(f"no study {name!r}{where}: {held}")


def find_study_id(uri: str, name: str) -> str:
    """The identifier of the one study that has a name as identifier or as prefix, also of one that was deleted.

    Raises:
        TrackingError: the server cannot be reached, or no study or several match.
    """
    from bench.core.redaction import redact
    from bench.tracking.reading.studies import list_deleted, list_studies

    known = list_studies(uri)
    if not any(name and study_id.startswith(name) for study_id in known):
        # Reading it says how it is restored.
        deleted = [study_id for study_id in list_deleted(uri) if name and study_id.startswith(name)]
        known = deleted or known
    return find_one(name, known, f" in {redact(uri)}")


def choose_studies(uri: str, names: list[str]) -> list[str]:
    """The identifiers of the named studies, each once; without names, of the newest study.

    Raises:
        TrackingError: the server cannot be reached or has no study to report, or a name matches none, several, or a
            gradient study, which has its own report.
    """
    from bench.core.errors import TrackingError
    from bench.core.redaction import redact
    from bench.tracking.reading.studies import list_deleted, list_studies
    from bench.workflows.gradients.settings import NAME

    chosen = list(dict.fromkeys(find_study_id(uri, name) for name in names))
    of_gradients = [study_id for study_id in chosen if study_id.startswith(f"{NAME}-")]
    if of_gradients:
        raise TrackingError(
            f"{of_gradients[0]} is a study of gradient estimators: `reparam-bench gradients` writes its own report"
        )
    if chosen:
        return chosen
    # Reading a deleted one says how it is restored.
    held = list_studies(uri) or list_deleted(uri)
    known = [study_id for study_id in held if not study_id.startswith(f"{NAME}-")]
    if not known:
        raise TrackingError(f"{redact(uri)} holds no study yet: run one first, `reparam-bench study vae_vs_glow`")
    return known[:1]
