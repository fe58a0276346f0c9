"""What commands share at the terminal: their console, their log file, and how an error ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the result's path alone; the log has the rest.")]
LogFile = Annotated[
    Path | None, typer.Option(help="Log file [default: a new one in the output folder's logs/].", show_default=False)
]


def open_console(quiet: bool = False) -> Console:
    """The console of a command; a quiet one takes everything and shows nothing."""
    from rich.console import Console

    return Console(soft_wrap=True, quiet=quiet)


STORAGE_VARIABLE = "REPARAM_BENCH_STORAGE"
TRACKING_VARIABLE = "REPARAM_BENCH_TRACKING_URI"
TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow tracking URI [default: SQLite in the output folder].",
        show_default=False,
        envvar=TRACKING_VARIABLE,
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Optuna storage: a database's URL, grpc://host:port, a .journal file [default: one in the output folder].",
        show_default=False,
        envvar=STORAGE_VARIABLE,
    ),
]
Output = Annotated[Path, typer.Option(help="Folder for databases, artifacts and reports.")]


@contextmanager
def command_log(command: str, output: Path, log_file: Path | None, console: Console) -> Iterator[Path]:
    """Log what a command does in the block, to a given file or to one in its output folder; yields the file's path."""
    from bench.logs import default_log_file, logged_to

    path = log_file or default_log_file(output, command)
    with logged_to(path, console):
        yield path


def run_program(program: Callable[[], object]) -> None:
    """Run a command line; whatever ends it is told in one line.

    The exit status is 2 for what the user can mend, and 1 for what nobody foresaw, whose traceback is logged.
    """
    from bench.errors import ReparamBenchError, UnexpectedError

    try:
        with _unexpected_errors_logged():
            program()
    except ReparamBenchError as error:
        from bench.logs import one_line

        typer.secho(f"error: {one_line(str(error))}", fg="red", err=True)
        raise SystemExit(1 if isinstance(error, UnexpectedError) else 2) from None


@contextmanager
def _unexpected_errors_logged() -> Iterator[None]:
    """Give an error a log file that ended a command which has none."""
    from bench.errors import ReparamBenchError

    try:
        yield
    except ReparamBenchError:
        raise
    except Exception:
        with command_log("error", Path("runs"), None, open_console(quiet=True)):
            raise
