"""The rendered help of every command: no word of what was written is lost, and no framework is imported for it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
import typer

from studies.cli.main import app

PROGRAM = typer.main.get_command(app)
COMMANDS = ["", *PROGRAM.commands]
FRAMEWORKS = ("keras", "tensorflow", "jax", "mlflow", "optuna", "pandas", "matplotlib")


def written(name):
    """Every text that the help of a command must show."""
    command = PROGRAM.commands[name] if name else PROGRAM
    texts = [command.help]
    for parameter in command.params:
        texts += [getattr(parameter, "help", None), f"[env var: {parameter.envvar}]" if parameter.envvar else None]
    texts += [] if name else [inspect.cleandoc(each.help).split("\n\n")[0] for each in PROGRAM.commands.values()]
    return [" ".join(text.replace("`", "").split()) for text in texts if text]


@pytest.fixture
def shown(cli, monkeypatch):
    """The help of a command on a terminal of so many columns, without its frames."""

    def render(name, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, _ = cli(*filter(None, [name]), "--help")
        assert code == 0
        assert max(map(len, out.splitlines())) <= columns
        return " ".join(re.sub("[│╭╮╰╯─]", " ", out).split())

    return render


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_shown_as_it_is_written(shown, name):
    wide = shown(name, 600)
    for text in written(name):
        assert text in wide


@pytest.mark.parametrize("name", COMMANDS)
def test_a_narrow_terminal_shows_every_word_whole(shown, name):
    narrow = set(shown(name, 80).split())
    for text in written(name):
        assert set(text.split()) <= narrow


def test_help_says_what_an_option_is_by_default(shown):
    text = shown("study", 600)
    assert "Values a pixel can take [default: 2 or 256]." in text
    assert "Passes over the training images at most [default: the arm's own, or 10 to 60]." in text


def test_help_imports_no_framework():
    code = f"""
import sys
from studies.cli.main import app
try:
    app(["study", "--help"])
finally:
    print(sorted(set(sys.modules) & set({FRAMEWORKS!r})), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]")
