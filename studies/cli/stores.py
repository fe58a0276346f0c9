"""The stores of an output folder, as the commands that read them find them."""

from __future__ import annotations

from pathlib import Path


def tracking_store(tracking_uri: str | None, output: Path) -> str:
    """The tracking store to read: the one given, or the output folder's.

    Raises:
        TrackingError: the folder has none.
    """
    from bench.core.errors import TrackingError

    if tracking_uri is not None:
        return tracking_uri
    try:
        database = output.resolve() / "mlflow.db"
        there = database.is_file()
    except (OSError, RuntimeError) as error:
        raise TrackingError(f"output={str(output)!r} cannot be opened ({error}): give another") from error
    if not there:
        raise TrackingError(f"{database} does not exist: run a study first, or give --output or --tracking-uri")
    return f"sqlite:///{database}"


def study_named(uri: str, name: str) -> str:
    """The identifier of the one study in a store that a name is, or is the beginning of.

    Raises:
        TrackingError: the store cannot be reached, or no study or several are meant.
    """
    from bench.core.errors import TrackingError
    from bench.core.redaction import redact
    from bench.tracking.reading.reader import list_studies

    known = list_studies(uri)
    # Every identifier begins with the empty name, which means none.
    meant = [name] if name in known else [study_id for study_id in known if name and study_id.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise TrackingError(f"{name!r} is the beginning of {', '.join(meant)}: give more of it")
    held = f"it holds {', '.join(known)}" if known else "it holds none"
    raise TrackingError(f"no study {name!r} in {redact(uri)}: {held}")


def studies_to_report(uri: str, names: list[str]) -> list[str]:
    """The identifiers of the studies that names mean, each once; of the newest where there is no name.

    Raises:
        TrackingError: the store cannot be reached or holds no study to report, or a name means none, several, or one
            of gradient estimators, whose page a general report would replace.
    """
    from bench.core.errors import TrackingError
    from bench.core.redaction import redact
    from bench.tracking.reading.reader import list_studies
    from bench.workflows.gradients.settings import NAME

    chosen = list(dict.fromkeys(study_named(uri, name) for name in names))
    of_gradients = [study_id for study_id in chosen if study_id.startswith(f"{NAME}-")]
    if of_gradients:
        raise TrackingError(
            f"{of_gradients[0]} is a study of gradient estimators: `reparam-bench gradients` writes its own report"
        )
    if chosen:
        return chosen
    known = [study_id for study_id in list_studies(uri) if not study_id.startswith(f"{NAME}-")]
    if not known:
        raise TrackingError(f"{redact(uri)} holds no study yet: run one first, `reparam-bench study vae_vs_glow`")
    return known[:1]
