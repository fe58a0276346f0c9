"""Models from files: what is no model of a family is refused by name."""

import json
import zipfile

import pytest

from models.base.registry import FamilyError
from models.registry import load_model

pytestmark = pytest.mark.backend

NO_MODELS = {
    "no archive": None,
    "an archive of other things": {"notes.txt": b"nothing"},
    "no JSON": {"config.json": b"\x93\xff"},
    "JSON of no object": {"config.json": b"[1, 2]"},
    "another network": {"config.json": json.dumps({"class_name": "Sequential", "config": {"name": "s"}}).encode()},
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_a_file_of_no_model_is_refused_with_what_is_accepted(tmp_path, kind):
    file, entries = tmp_path / "mine.keras", NO_MODELS[kind]
    if entries is None:
        file.write_bytes(b"no archive at all")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    held = "Sequential" if kind == "another network" else "no model"
    with pytest.raises(FamilyError, match=rf"mine\.keras holds {held}: a file that `save` of a LikelihoodModel"):
        load_model(file)
