"""What commands share at the terminal: their console, their log file, and how an error ends them."""

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
"""Characters of an error."""
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the result's path alone; the log has the rest.")]
LogFile = Annotated[
    Path | None, typer.Option(help="Log file [default: a new one in the output folder's logs/].", show_default=False)
]


def open_console(quiet: bool = False) -> Console:
    """The console of a command; a quiet one takes everything and shows nothing."""
    from rich.console import Console

    return Console(soft_wrap=True, quiet=quiet)


@contextmanager
def command_log(command: str, output: Path, log_file: Path | None, console: Console) -> Iterator[Path]:
    """Log what a command does in the block, to a given file or to one in its output folder; yields the file's path."""
    from bench.core.logs import default_log_file, logged_to

    path = log_file or default_log_file(output, command)
    with logged_to(path, console):
        yield path


def run_program(program: typer.Typer, name: str | None = None) -> None:
    """Run a command line; whatever ends it is told in one line.

    The exit status is 2 for what the user can mend, and 1 for what nobody foresaw, whose traceback is logged.

    Args:
        program: the commands.
        name: how the user calls them; by default as this process was called.
    """
    from bench.core.errors import ReparamBenchError, UnexpectedError

    try:
        with _unexpected_errors_logged():
            # Not standalone, for Typer would tell of a usage error in a box of many lines.
            status = program(prog_name=name, standalone_mode=False)
    except ReparamBenchError as error:
        _tell(str(error))
        raise SystemExit(1 if isinstance(error, UnexpectedError) else 2) from None
    except typer.TyperException as error:
        # Empty where no command was given: then the help was shown.
        if message := _usage(error):
            context: typer.Context | None = getattr(error, "ctx", None)
            command = name if context is None else context.command_path
            _tell(f"{message.rstrip('.')}: `{command} --help` tells what is accepted")
        raise SystemExit(error.exit_code) from None
    finally:
        # The interpreter's last collection would look at every object of every program, for seconds, and free nothing
        # that the end of the process does not.
        gc.freeze()
    raise SystemExit(status)


def _usage(error: typer.TyperException) -> str:
    """What is wrong with a command line, with the value that is refused."""
    from pydantic import ValidationError

    from bench.core.validated import explained

    parameter: typer.CallbackParam | None = getattr(error, "param", None)
    if isinstance(error.__cause__, ValidationError) and parameter is not None:
        return explained(error.__cause__, str(parameter.name))
    return error.format_message()


def _tell(message: str) -> None:
    from bench.core.logs import one_line

    line = one_line(message)
    if len(line) > LONGEST_LINE:
        # What is accepted stands at the end.
        line = f"{line[: LONGEST_LINE // 2]} … {line[-LONGEST_LINE // 2 :]}"
    typer.secho(f"error: {line}", fg="red", err=True)


def restart() -> NoReturn:
    """Put a fresh process, of the same number and on the same command line, in the place of this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is this very command


@contextmanager
def _unexpected_errors_logged() -> Iterator[None]:
    """Give an error a log file that ended a command which has none."""
    from bench.core.errors import ReparamBenchError

    try:
        yield
    except (ReparamBenchError, typer.TyperException):
        raise
    except Exception:
        with command_log("error", Path("runs"), None, open_console(quiet=True)):
            raise
