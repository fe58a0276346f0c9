"""What all commands share: console, log file, and printing of errors."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bench.core.errors import ReparamBenchError

LONGEST_LINE = 1000
"""Characters of an error that are printed."""
COLUMN_GAP = 2
NARROWEST_NAME = 28
"""Characters that the names of a table's rows have at least, before they turn into blocks."""
NO_BREAK = "\u00a0"
OBJECTS_UNTIL_COLLECTION = 50_000
"""More objects than before since the last search for young garbage, until the next one."""
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the result's path alone; the log has the rest.")]
LogFile = Annotated[
    Path | None, typer.Option(help="Log file [default: a new one in the output folder's logs/].", show_default=False)
]


def open_console(quiet: bool = False) -> Console:
    """The console of a command; a quiet one prints nothing."""
    from rich.console import Console

    return Console(soft_wrap=True, quiet=quiet)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in which no value is broken: where the terminal is too narrow for it, each row becomes a block.

    Args:
        console: where to.
        columns: their heads.
        rows: a name, which may take several lines, and a value for each further column.
    """
    from rich.table import Table
    from rich.text import Text

    names = [max((len(word) for word in row[0].split()), default=0) for row in rows]
    values = [max(map(len, each)) + COLUMN_GAP for each in list(zip(columns, *rows, strict=True))[1:]]
    longest = max((len(row[0]) for row in rows), default=0)
    if sum(values) + max([*names, min(longest, NARROWEST_NAME)]) <= console.width:
        table = Table(box=None, pad_edge=False)
        table.add_column(Text(columns[0]))
        for column in columns[1:]:
            table.add_column(Text(column), no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table, highlight=False)
        return
    wrapper = TextWrapper(console.width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    for name, *cells in rows:
        console.print(Text(name), soft_wrap=False, highlight=False)
        # A line may end between two values, and not within one.
        known = [
            f"{column} {cell}".replace(" ", NO_BREAK) for column, cell in zip(columns[1:], cells, strict=True) if cell
        ]
        for line in wrapper.wrap(", ".join(known)):
            console.print(Text(line.replace(NO_BREAK, " ")), highlight=False)


@contextmanager
def command_log(command: str, output: Path, log_file: Path | None, console: Console) -> Iterator[Path]:
    """Log the block to a given file, or to a new one in the output folder; yields the file's path."""
    from bench.core.logs import default_log_file, log_to_file

    path = log_file or default_log_file(output, command)
    with log_to_file(path, console, output):
        yield path


def run_program(program: typer.Typer, name: str | None = None) -> None:
    """Run a command line; errors are printed as one line.

    The exit status is 2 for errors that the user can fix, and 1 for unexpected ones, whose traceback is logged.

    Args:
        program: the commands.
        name: its name in messages; by default the name of this process.
    """
    from bench.core.errors import ReparamBenchError

    # Otherwise the interpreter's last garbage collection visits every object, for seconds, before the process ends.
    atexit.register(gc.freeze)
    # Of the many objects that imports and graphs make, few are garbage: looking for it at each 700 takes seconds.
    gc.set_threshold(OBJECTS_UNTIL_COLLECTION, 20, 20)
    found: dict[str, Path] = {}
    try:
        with _unexpected_errors_logged(found):
            # In standalone mode Typer prints a usage error in a box of many lines.
            status = program(prog_name=name, standalone_mode=False, obj=found)
    except ReparamBenchError as error:
        raise SystemExit(print_error(error)) from None
    except typer.TyperException as error:
        # Empty if no command was given, and the help was printed.
        if message := _format_usage_error(error):
            context: typer.Context | None = getattr(error, "ctx", None)
            command = name if context is None else context.command_path
            _print_line(f"{message.rstrip('.')}: `{command} --help` shows what is accepted")
        raise SystemExit(error.exit_code) from None
    raise SystemExit(status)


def _format_usage_error(error: typer.TyperException) -> str:
    """What is wrong with a command line, with the invalid value."""
    from pydantic import ValidationError

    from bench.core.validation import format_validation_error

    parameter: typer.CallbackParam | None = getattr(error, "param", None)
    if isinstance(error.__cause__, ValidationError) and parameter is not None:
        return format_validation_error(error.__cause__, str(parameter.name))
    return error.format_message()


def print_error(error: ReparamBenchError) -> int:
    """Print an error as one line; the exit status that it stands for."""
    from bench.core.errors import UnexpectedError

    _print_line(str(error))
    return 1 if isinstance(error, UnexpectedError) else 2


def _print_line(message: str) -> None:
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
def _unexpected_errors_logged(found: Mapping[str, Path]) -> Iterator[None]:
    """Log an unexpected error of a command that has no log file yet, in the output folder if it was ``found``."""
    from bench.core.errors import ReparamBenchError

    try:
        yield
    except (ReparamBenchError, typer.TyperException):
        raise
    except Exception:
        output = found.get("output", Path("runs"))
        usable = output if output.is_dir() or not os.path.lexists(output) else Path("runs")
        with command_log("error", usable, None, open_console(quiet=True)):
            raise
