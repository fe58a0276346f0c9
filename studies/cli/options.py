"""Options that several commands share: addresses, output folder and extensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.core.environment import STORAGE_VARIABLE, TRACKING_VARIABLE
from studies.cli import completion


def _address(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Check an address: its credentials must be recognisable, to be redacted."""
    from bench.core.redaction import check_address

    # During completion the command is incomplete, and nothing is refused.
    if value is not None and not context.resilient_parsing:
        check_address(str(parameter.name), value)
    return value


TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow tracking URI [default: SQLite in the output folder].",
        show_default=False,
        callback=_address,
        envvar=TRACKING_VARIABLE,
    ),
]
TrackingUriAfter = Annotated[
    str | None,
    typer.Option(help="Tracking URI of the second study [default: the same].", show_default=False, callback=_address),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Optuna storage: a database's URL, grpc://host:port, a .journal file [default: one in the output folder].",
        show_default=False,
        callback=_address,
        envvar=STORAGE_VARIABLE,
    ),
]
DataOfRun = Annotated[
    str | None, typer.Option(help="Where the run's data is now [default: where it was].", show_default=False)
]
ExtractorName = Annotated[
    str,
    typer.Option(
        help="Network whose features score samples: classifier or inception_v3.",
        autocompletion=completion.extractors,
    ),
]
OutsideDataset = Annotated[
    str | None,
    typer.Option(
        help="Another data set whose likelihood is measured too.",
        show_default=False,
        autocompletion=completion.datasets,
    ),
]
GreyLevels = Annotated[
    int | None, typer.Option(help="Values a pixel can take [default: 2 or 256].", show_default=False)
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHTxWIDTH",
        help="Bring images to this size, or to one number's square: their centre is cropped to its shape.",
        show_default=False,
    ),
]
Grey = Annotated[bool, typer.Option("--grey", help="Make colour images grey (ITU-R 601).")]
Window = Annotated[
    int | None,
    typer.Option(
        help="Cut text or sound into windows of so many symbols or samples [default: 64, 256].", show_default=False
    ),
]
TextUnit = Annotated[
    str | None,
    typer.Option(
        help="Read a file as text, of `characters` of UTF-8 or of `bytes` [default: .txt by characters].",
        show_default=False,
        autocompletion=completion.text_units,
    ),
]
SampleRate = Annotated[
    int | None,
    typer.Option(help="Resample sound to so many samples a second [default: the lowest rate].", show_default=False),
]
SoundEncoding = Annotated[
    str | None,
    typer.Option(
        help="How sound becomes 256 levels: mu-law or linear [default: mu-law].",
        show_default=False,
        autocompletion=completion.sound_encodings,
    ),
]
Speakers = Annotated[
    bool,
    typer.Option("--speakers", help="Sub-folders of recordings are speakers: none is in two splits."),
]
Equivalence = Annotated[
    float | None,
    typer.Option(
        help="Least difference in test bits/dim that matters to you [default: the study's].", show_default=False
    ),
]
Extensions = Annotated[
    list[Path] | None,
    typer.Option(
        "--extension", help="File of your own models, metrics, figures or data sets; repeatable.", show_default=False
    ),
]


def load_extensions(files: list[Path] | None, backend: str | None = None) -> None:
    """Import the user's own files.

    Args:
        files: the files.
        backend: on which they import Keras, if they do.

    Raises:
        SettingsError: one cannot be imported, or the backend cannot be had.
    """
    if files:
        from bench.core.extensions import load_extension
        from bench.runtime.backend import hold_back_stderr, prepare_backend

        if backend is not None:
            prepare_backend(backend)
        with hold_back_stderr():
            for file in files:
                load_extension(file)


def _remember(context: typer.Context, output: Path) -> Path:
    """Unexpected errors of the command are logged there."""
    if context.obj is not None:
        context.obj["output"] = output
    return output


Output = Annotated[Path, typer.Option(callback=_remember, help="Folder for databases, artifacts and reports.")]
