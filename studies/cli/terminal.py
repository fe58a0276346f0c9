"""What all commands share: console, log file, and printing of errors."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_LINE = 1000
"""Characters of an error that are printed."""
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the result's path alone; the log has the rest.")]
LogFile = Annotated[
    Path | None, typer.Option(help="Log file [default: a new one in the output folder's logs/].", show_default=False)
]


def open_console(quiet: bool = False) -> Console:
    """The console of a command; a quiet one prints nothing."""
    from rich.console import Console

    return Console(soft_wrap=True, quiet=quiet)


@contextmanager
def command_log(command: str, output: Path, log_file: Path | None, console: Console) -> Iterator[Path]:
    """Log the block to a given file, or to a new one in the output folder; yields the file's path."""
    from bench.core.logs import default_log_file, log_to_file

    path = log_file or default_log_file(output, command)
    with log_to_file(path, console):
        yield path


def run_program(program: typer.Typer, name: str | None = None) -> None:
    """Run a command line; errors are printed as one line.

    The exit status is 2 for errors that the user can fix, and 1 for unexpected ones, whose traceback is logged.

    Args:
        program: the commands.
        name: its name in messages; by default the name of this process.
    """
    from bench.core.errors import ReparamBenchError, UnexpectedError

    try:
        with _unexpected_errors_logged():
            # In standalone mode Typer prints a usage error in a box of many lines.
            status = program(prog_name=name, standalone_mode=False)
    except ReparamBenchError as error:
        _print_error(str(error))
        raise SystemExit(1 if isinstance(error, UnexpectedError) else 2) from None
    except typer.TyperException as error:
        # Empty if no command was given, and the help was printed.
        if message := _format_usage_error(error):
            context: typer.Context | None = getattr(error, "ctx", None)
            command = name if context is None else context.command_path
            _print_error(f"{message.rstrip('.')}: `{command} --help` shows what is accepted")
        raise SystemExit(error.exit_code) from None
    finally:
        # Otherwise the interpreter's last garbage collection visits every object, for seconds, before the process ends.
        gc.freeze()
    raise SystemExit(status)


def _format_usage_error(error: typer.TyperException) -> str:
    """What is wrong with a command line, with the invalid value."""
    from pydantic import ValidationError

    from bench.core.validation import format_validation_error

    parameter: typer.CallbackParam | None = getattr(error, "param", None)
    if isinstance(error.__cause__, ValidationError) and parameter is not None:
        return format_validation_error(error.__cause__, str(parameter.name))
    return error.format_message()


def _print_error(message: str) -> None:
    from bench.core.logs import one_line

    line = one_line(message)
    if len(line) > LONGEST_LINE:
        # What is accepted stands at the end.
        line = f"{line[: LONGEST_LINE // 2]} … {line[-LONGEST_LINE // 2 :]}"
    typer.secho(f"error: {line}", fg="red", err=True)


def restart() -> NoReturn:
    """Replace this process by a fresh one with the same number and command line."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is this very command


@contextmanager
def _unexpected_errors_logged() -> Iterator[None]:
    """Log an unexpected error of a command that has no log file yet."""
    from bench.core.errors import ReparamBenchError

    try:
        yield
    except (ReparamBenchError, typer.TyperException):
        raise
    except Exception:
        with command_log("error", Path("runs"), None, open_console(quiet=True)):
            raise
