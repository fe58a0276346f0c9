"""``reparam-bench settings``: what can be swept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.options import Extensions, load_extensions
from studies.cli.terminal import open_console

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

TRAINING = "training"


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Families, or training [default: all that are known].", show_default=False
        ),
    ] = None,
    extension: Extensions = None,
) -> None:
    """List the settings of models and of training, each of which a study can sweep, with values and default."""
    from bench.core.errors import SettingsError
    from bench.runtime.backend import BACKENDS
    from bench.study.config import TrainingConfig
    from models.base.registry import families
    from models.families import OWN_FAMILIES

    load_extensions(extension, BACKENDS[0])
    registered = families()
    ordered = [*OWN_FAMILIES, *(name for name in registered if name not in OWN_FAMILIES)]
    known: dict[str, tuple[str, type[BaseModel]]] = {
        name: (registered[name].title, registered[name].config) for name in ordered
    }
    known[TRAINING] = ("how a model is trained", TrainingConfig)
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise SettingsError(f"no family is called {unknown[0]!r}: one of {', '.join(known)}")
    console = open_console()
    for name in names or known:
        title, config = known[name]
        _print(console, f"{name}: {title}", config)


def _print(console: Console, heading: str, config: type[BaseModel]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from bench.study.settings import list_settings

    console.print(heading, style="bold", highlight=False, markup=False)
    for setting in list_settings(config):
        head = Text.assemble("  ", (setting.name, "cyan"), f"  {setting.values}; default {setting.default}")
        console.print(head, soft_wrap=False)
        if setting.meaning:
            console.print(Padding(Text(setting.meaning), (0, 0, 0, 6)), soft_wrap=False)
    console.print()
