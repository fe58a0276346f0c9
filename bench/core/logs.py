"""The log file of a command: every event with its time, full tracebacks, no credentials."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.core.errors import ReparamBenchError, SettingsError, UnexpectedError
from bench.core.packages import OWN_PACKAGES
from bench.core.redaction import redact

LONGEST_REASON = 300
"""Characters of a library's message that the terminal shows; the log has all of it."""
UPLOADER_THREAD = "uploader"
"""The thread that uploads to the tracking server; it reports itself what its libraries warn of at each attempt."""
UPLOADER_LOGGER = "bench.tracking.outbox.uploader"
JOURNAL_LOGGER = "bench.search.journal"
"""The logger of a study's journal, which mends what a loss of power has left, in whatever call that is noticed."""
IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
"""Errors of a file where a folder should be, or of a folder in place of a file."""
_STORES = ("mlflow", "optuna", "sqlalchemy", "sqlite3", "requests", "urllib3")

log = logging.getLogger(__name__)


def one_line(text: str) -> str:
    """``text`` on one line, without credentials and without control characters."""
    visible = "".join(character if character.isprintable() else " " for character in redact(text))
    return " ".join(visible.split())


def shorten(text: str) -> str:
    """``text`` on one line, cut to :data:`LONGEST_REASON` characters."""
    line = one_line(text)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} …"


def default_log_file(output: Path, command: str) -> Path:
    """A new file, named by the time, in the ``logs`` folder of a command's output."""
    return output / "logs" / f"{time.strftime('%Y-%m-%dT%H%M%S')}-{command}.log"


@contextmanager
def log_to_file(path: Path, console: Console, output: Path | None = None) -> Iterator[None]:
    """Log the block to a file, with the error that ends it.

    Args:
        path: the file to append to; missing folders are created.
        console: shows warnings of libraries, one line each.
        output: the command's output folder.

    Raises:
        SettingsError: the file cannot be written, or something lies in the way of what the block writes to ``output``.
        UnexpectedError: the block raised an error other than :class:`ReparamBenchError`; the log has the traceback.
    """
    try:
        if path.is_fifo():
            raise OSError(errno.EINVAL, "it is a pipe, which blocks until it is read")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _File(path)
    except OSError as error:
        raise SettingsError(
            f"the log file {str(path)!r} cannot be written ({error.strerror}): give another with --log-file"
        ) from error
    root = logging.getLogger()
    handlers: tuple[logging.Handler, ...] = (file, _LibraryWarnings(console))
    for handler in handlers:
        root.addHandler(handler)
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG)
    logging.captureWarnings(True)
    try:
        yield
    except ReparamBenchError as error:
        log.exception("ended by an error: %s", error)
        raise
    except Exception as error:
        log.exception("ended by an unexpected error")
        if output is not None and isinstance(error, OSError) and (place := _in_the_way(error, output)):
            raise SettingsError(
                f"{one_line(place)!r} cannot be used ({error.strerror}): move what lies there or above it away; "
                f"{file.where_traceback_is(error)}"
            ) from error
        raise UnexpectedError(
            f"{shorten(f'{type(error).__name__}: {error}')}; {file.where_traceback_is(error)}; {_suggest_fix(error)}"
        ) from error
    except BaseException as error:
        log.warning("ended by %s", type(error).__name__)
        raise
    finally:
        logging.captureWarnings(False)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _in_the_way(error: OSError, output: Path) -> str:
    """The path below ``output`` at which something lies that an error of a file is about; empty if there is none."""
    name = error.filename if error.filename2 is None else error.filename2
    # A number is that of an open file.
    if error.errno not in IN_THE_WAY or name is None or isinstance(name, int):
        return ""
    place = Path(os.fsdecode(name))
    # Its own name stays, as it may be a link. Path.resolve raises an error of its own where links are loops.
    full = Path(os.path.realpath(place.parent), place.name)
    return str(place) if full.is_relative_to(os.path.realpath(output)) else ""


class _File(logging.FileHandler):
    """Appends to the log file. A log that cannot be written, as on a full disk, does not end the command."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.path = path
        self.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
        self.problem = ""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        self._warn_once(sys.exc_info()[1])

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self._warn_once(error)

    def _warn_once(self, problem: BaseException | None) -> None:
        if not self.problem:
            self.problem = str(problem)
            print(f"warning: {self.path} cannot be written: {self.problem}", file=sys.stderr)

    def where_traceback_is(self, error: BaseException) -> str:
        """Where to find the traceback; it is printed now if the file cannot be written."""
        if not self.problem:
            return f"the traceback is in {self.path}"
        print(redact("".join(traceback.format_exception(error))), file=sys.stderr)
        return "the traceback is above"


class _Lines(logging.Formatter):
    """Removes credentials from lines and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _LibraryWarnings(logging.Handler):
    """Shows warnings of libraries, of the uploader and of the journal as one line each.

    Other modules of the project show their messages themselves; the uploader runs in a thread of its own, and the
    journal within Optuna.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        of_a_library = record.name.partition(".")[0] not in OWN_PACKAGES and record.threadName != UPLOADER_THREAD
        if of_a_library or record.name in (UPLOADER_LOGGER, JOURNAL_LOGGER):
            self.console.print(f"warning: {shorten(record.getMessage())}", highlight=False, markup=False)


def _suggest_fix(error: Exception) -> str:
    if type(error).__module__.partition(".")[0] in _STORES:
        return (
            "is the tracking server or the storage gone? check it by `reparam-bench doctor` with the same "
            "--tracking-uri and --storage; then the same command continues the study"
        )
    if isinstance(error, MemoryError):
        return "the machine ran out of memory: use a smaller --batch-size, or a larger machine"
    if isinstance(error, OSError) and error.filename is not None:
        return "check that the file can be reached and that its disk has room; then run the same command again"
    # Repeating the command would not mend it.
    return "this is a fault of reparam-bench: please report it with that file"
