"""What the configurations of all model families share: typed, frozen, and known by their ``family``.

This module imports no framework, so that a dry run answers at once.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from models.base.size import Size

Shape = tuple[int, int, int]
"""Image shape (height, width, channels)."""
BatchShape = tuple[int | None, int, int, int]
"""Shape of a batch of images, its number open."""

Activation = Literal["relu", "tanh", "elu", "silu", "gelu"]


class ModelConfig(BaseModel):
    """Base of the families' configurations: immutable, and closed to unknown names.

    A family of its own gives ``family`` as a literal with that default, its settings as further fields, and registers
    itself by :func:`models.base.registry.register_family`.

    Attributes:
        family: the family's name, by which a stored configuration finds its class again.
        presets: configurations by name, each the fields in which it differs from the default.
        is_exact: whether its models give log P(x) itself, so that an evaluation takes a single sample.
        later_settings: settings that came later. At their defaults they are no part of :attr:`identity`, so that what
            was logged before keeps its hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    family: str
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    is_exact: ClassVar[bool] = False
    later_settings: ClassVar[frozenset[str]] = frozenset()

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the model, as JSON: all settings but later ones at their defaults."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if not (name in self.later_settings and getattr(self, name) == fields[name].default)
        }

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModelConfig:
        """The named configuration, with ``changes``.

        Raises:
            KeyError: there is no preset of that name.
            pydantic.ValidationError: a change is unknown or out of range.
        """
        return cls.model_validate({**cls.presets[name], **changes})

    def check_images(self, image_shape: Shape, grey_levels: int) -> None:
        """Raise ValueError, with what would be accepted, if the model cannot take images of this kind."""

    def size(self, image_shape: Shape, grey_levels: int) -> Size | None:
        """Size of the model on images (h, w, c) of ``grey_levels`` levels, without building it; None if unknown.

        A dry run prints it and estimates the time of a study by it.
        """
        return None

    @property
    def compiled_steps(self) -> int:
        """Steps that a compiler takes one after the other, such as a flow's: a dry run adds a second for each."""
        return 0
