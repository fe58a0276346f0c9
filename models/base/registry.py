"""The door for a model family: our own and a user's are registered here, in the same way.

A family is a configuration (:class:`models.base.config.ModelConfig`) and the model that it describes (a
:class:`models.base.likelihood_model.LikelihoodModel`). From then on a stored configuration finds its classes again by
its ``family``. This module imports no framework.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from models.base.config import ModelConfig

OWN_PACKAGE = "models"
"""Modules of this package hold the families that come with it."""
HOW_TO_REGISTER = "give the file that registers it with --extension FILE"


class FamilyError(ValueError):
    """A family is unknown, or cannot be registered; the message says the way out."""


@dataclass(frozen=True)
class Family:
    """A registered model family.

    Attributes:
        name: its name: letters, digits and underscores.
        title: as reports write it.
        config: the class of its configurations.
        module: the module that registered its configuration.
        source: the file of that module; None for the families of this package, and where there is no file, as in a
            notebook.
        digest: SHA-256 of that file when it registered the family; empty where there is none.
    """

    name: str
    title: str
    config: type[ModelConfig]
    module: str
    source: Path | None
    digest: str
    _model: type[Any] | str

    @property
    def is_own(self) -> bool:
        """Whether the family comes with this package."""
        return _is_own(self.module)

    @property
    def keras_package(self) -> str:
        """The package under which Keras stores the model's class."""
        return "reparam_bench" if self.is_own else f"reparam_bench_{self.name}"

    @property
    def model(self) -> type[Any]:
        """The class of its models, a LikelihoodModel, registered with Keras's serialization. Imports Keras.

        Raises:
            FamilyError: the class that was registered by name is not there, or is no LikelihoodModel.
        """
        from keras.saving import get_registered_object, register_keras_serializable

        found = _imported(self._model, self.name) if isinstance(self._model, str) else self._model
        # By name, as the base class itself knows this module.
        if not (isinstance(found, type) and any(base.__name__ == "LikelihoodModel" for base in found.__mro__)):
            raise FamilyError(f"family={self.name!r}: {found!r} is no subclass of models.LikelihoodModel")
        if get_registered_object(f"{self.keras_package}>{found.__name__}") is not found:
            register_keras_serializable(self.keras_package)(found)
        return found


_FAMILIES: dict[str, Family] = {}


def register_family(config: type[ModelConfig], model: type[Any] | str, title: str | None = None) -> Family:
    """Register a model family under the default of its configuration's ``family``.

    Args:
        config: the class of its configurations. It gives its name: ``family: Literal["made"] = "made"``.
        model: the class of its models, or ``"module:Class"``, which is imported when the first model is built.
        title: the name as reports write it; the family's name in capitals if not given.

    Returns:
        The registered family.

    Raises:
        FamilyError: the configuration gives no name, the model is no LikelihoodModel, or another file has registered
            a family of this name. Registering again from the same file replaces what it had registered; a copy of
            that file, such as one that a logged model carries, changes nothing.
    """
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise FamilyError(f"{config!r} is no subclass of models.ModelConfig")
    name = config.model_fields["family"].default
    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", name)):
        raise FamilyError(
            f'{config.__name__} gives its family no name: it needs family: Literal["name"] = "name", of small letters, '
            f"digits and underscores, got {name!r}"
        )
    source = _source(config.__module__)
    digest = "" if source is None else hashlib.sha256(source.read_bytes()).hexdigest()
    family = Family(name, title or name.upper(), config, config.__module__, source, digest, model)
    known = _FAMILIES.get(name)
    if known is not None and _origin(known) != _origin(family):
        if digest and digest == known.digest:
            return known
        raise FamilyError(
            f"family={name!r} is registered twice, by {_origin(known)} and by {_origin(family)}: rename one of the two"
        )
    if not isinstance(model, str):
        _ = family.model  # says now what is wrong with it, and has Keras know the class
    _FAMILIES[name] = family
    return family


def registered(name: str) -> Family:
    """The family of this name.

    Raises:
        FamilyError: there is none; the message names those that there are.
    """
    try:
        return _FAMILIES[name]
    except KeyError:
        raise FamilyError(f"{_unknown(name)}; for a family of your own, {HOW_TO_REGISTER}") from None


def families() -> dict[str, Family]:
    """The registered families by name, in the order in which they were registered."""
    return dict(_FAMILIES)


def parse_config(value: Mapping[str, Any] | ModelConfig) -> ModelConfig:
    """The configuration that a mapping of its fields describes, of the class that its ``family`` names.

    Raises:
        FamilyError: no such family is registered.
        pydantic.ValidationError: a field is unknown or out of range.
    """
    if isinstance(value, ModelConfig):
        return value
    if not (isinstance(value, Mapping) and isinstance(value.get("family"), str)):
        raise FamilyError(f"the configuration of a model names its family: one of {', '.join(_FAMILIES)}")
    return registered(value["family"]).config.model_validate(dict(value))


AnyModelConfig = Annotated[SerializeAsAny[ModelConfig], BeforeValidator(parse_config)]
"""Configuration of any registered family, found by its ``family`` and stored with all of its fields."""


def _unknown(name: str) -> str:
    return f"family={name!r} is unknown: one of {', '.join(_FAMILIES)}"


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == OWN_PACKAGE


def _source(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None or _is_own(module) else Path(file).resolve()


def _origin(family: Family) -> str:
    """Where a family comes from, as a message names it."""
    return family.module if family.source is None else str(family.source)


def _imported(reference: str, family: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FamilyError(f"family={family!r}: its model {reference!r} cannot be imported: {error}") from error
