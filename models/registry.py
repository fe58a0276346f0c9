"""From a configuration, or from a file, to the model that it describes. Importing this module imports Keras.

Our own families are known to Keras from then on; a user's are when the file that registers them is imported.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from models.base.config import ModelConfig, Shape
from models.base.draws import flat_draws
from models.base.likelihood_model import LikelihoodModel
from models.base.registry import FamilyError, registered
from models.families import OWN_FAMILIES

for _family in OWN_FAMILIES:
    _ = registered(_family).model


def build_model(config: ModelConfig, image_shape: Shape, grey_levels: int) -> LikelihoodModel:
    """A new model with freshly drawn weights.

    Raises:
        ValueError: the configuration does not fit the images, or its family is not registered.
    """
    with flat_draws():
        model: LikelihoodModel = registered(config.family).model(config, image_shape, grey_levels)
    return model


def load_model(file: Path) -> LikelihoodModel:
    """The model that a ``.keras`` file holds; nothing is unpickled.

    Raises:
        FamilyError: it is no model of a family, or of one that is not registered in this process; the message says what
            to do.
        FileNotFoundError: there is no such file.
    """
    stored: Any = None
    try:
        with zipfile.ZipFile(file) as archive:
            stored = json.loads(archive.read("config.json"))
        family = stored["config"]["config"]["family"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        kind = stored.get("class_name", "no model") if isinstance(stored, dict) else "no model"
        raise FamilyError(
            f"{file.name} holds {kind}: a file that `save` of a LikelihoodModel has written is accepted"
        ) from error
    _ = registered(family).model
    model: LikelihoodModel = keras.saving.load_model(file, safe_mode=True)
    return model
