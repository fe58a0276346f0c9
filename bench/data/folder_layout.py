"""Where the images, the texts or the recordings of a folder lie: its splits, its classes, and the files of each.

*Splits*: if the folder has a sub-folder ``train`` (or ``training``), then it, ``validation`` (``valid``, ``val``,
``dev``) and ``test`` (``testing``) are the splits, in capitals or not, and other folders beside them are ignored, but
refused beside ``train`` alone. Without any of these all its images form one part.

*Classes*: where the images lie in two or more sub-folders (of each split), each sub-folder is a class, and the classes'
sorted names are their labels; deeper folders belong to their class. Images that lie in the folder itself have no
classes, nor have those of which each lies in a sub-folder of its own. A single sub-folder is no class: it stands for
the folder around it.

Hidden files and folders are skipped, and links are followed to files inside the folder alone. What is said of images
holds of recordings too. Texts have no classes; a folder of nothing but a ``train``, a ``validation`` and a ``test``
file, such as ``ptb.train.txt``, holds the splits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.core.errors import DataError
from bench.data.dataset import Labels
from bench.data.other_formats import OTHER_PICTURES, OTHER_SOUNDS, PICTURES, SOUNDS, TEXTS
from bench.data.splitting import ALL, permutation

_PART_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_NAMES = {name for names in _PART_FOLDERS.values() for name in names}
MOST_LISTED = 8
"""Largest number of classes in an error."""


class Sought(NamedTuple):
    """The files of a folder that hold its data: what they are called, and how their names end."""

    noun: str
    suffixes: tuple[str, ...]

    def holds(self, name: str) -> bool:
        """Whether a file of this name is one; hidden files are none."""
        return not name.startswith(".") and name.lower().endswith(self.suffixes)


IMAGES = Sought("image", PICTURES)
TEXT = Sought("text", TEXTS)
RECORDINGS = Sought("recording", SOUNDS)
_UNREAD = Sought("recording", OTHER_SOUNDS)
_UNREAD_IMAGES = Sought("image", OTHER_PICTURES)


def find_sought(folder: Path) -> Sought:
    """What a folder is of: images or recordings, or texts where there are none of these.

    Raises:
        DataError: there are images and recordings, or recordings that are not read.
    """
    first: dict[Sought, Path] = {}
    unread: list[Path] = []
    pictures: list[Path] = []
    # What cannot be listed is an error of reading the folder.
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for kind in (IMAGES, RECORDINGS, TEXT):
            if kind not in first and (name := next(filter(kind.holds, sorted(names)), None)):
                first[kind] = Path(parent, name)
        unread += [Path(parent, name) for name in sorted(names) if _UNREAD.holds(name)]
        pictures += [Path(parent, name) for name in sorted(names) if _UNREAD_IMAGES.holds(name)]
    if IMAGES in first and RECORDINGS in first:
        raise DataError(
            f"{folder} holds images and recordings, such as {first[IMAGES]} and {first[RECORDINGS]}; one kind of data "
            "is accepted: give the folder of one, or move the others out."
        )
    if unread and (RECORDINGS in first or not first):
        raise DataError(
            f"{folder} holds {len(unread):,} recordings of formats that are not read, such as {unread[0]}; "
            f"{', '.join(SOUNDS)} are accepted: ffmpeg -i FILE my.wav makes one, or move them out."
        )
    if pictures and (IMAGES in first or not first):
        raise DataError(
            f"{folder} holds {len(pictures):,} images of formats that are not read, such as {pictures[0]}; "
            f"{', '.join(PICTURES)} are accepted: convert them, or move them out."
        )
    return next((kind for kind in (IMAGES, RECORDINGS, TEXT) if kind in first), IMAGES)


class Part(NamedTuple):
    """The files of a part in a fixed shuffled order, and their classes, if they have them."""

    files: list[Path]
    labels: Labels | None
    class_names: tuple[str, ...]


def list_parts(folder: Path, sought: Sought = IMAGES) -> dict[str, Part]:
    """The files of each part, and their classes."""
    tops = _find_parts(folder, sought)
    found = {part: _shuffle(_list_files(top, folder, sought)) for part, top in tops.items()}
    return _find_classes(tops, found, sought)


def list_by_owner(folder: Path, sought: Sought) -> dict[str, Part]:
    """The files of each part, and as their classes whose they are: the sub-folder that each lies in.

    Raises:
        DataError: a file lies in none.
    """
    tops = _find_parts(folder, sought)
    files = {part: _shuffle(_list_files(top, folder, sought)) for part, top in tops.items()}
    _check_no_split_inside(tops, files)
    owners = {part: [_sub_folder(file, tops[part]) or "" for file in found] for part, found in files.items()}
    for part, found in owners.items():
        if "" in found:
            raise DataError(
                f"{files[part][found.index('')]} lies in no sub-folder; a sub-folder for each speaker is accepted, or "
                "no --speakers."
            )
    names = sorted({name for found in owners.values() for name in found})
    shown = tuple(map(valid_text, names))
    labels = {part: np.array([names.index(name) for name in found], np.int64) for part, found in owners.items()}
    return {part: Part(found, labels[part], shown) for part, found in files.items()}


def list_texts(folder: Path) -> dict[str, list[Path]]:
    """The texts of each part, by their names."""
    tops = _find_parts(folder, TEXT)
    found = {part: _list_files(top, folder, TEXT) for part, top in tops.items()}
    _check_no_split_inside(tops, found)
    files = found.get(ALL, [])
    by_name = {part: [file for file in files if _is_named(file, names)] for part, names in _PART_FOLDERS.items()}
    given = {part: named for part, named in by_name.items() if named}
    if "train" in given and all(len(named) == 1 for named in given.values()) and len(given) == len(files) > 1:
        return given
    if len(files) > 1 and (held_out := next((named[0] for part, named in given.items() if part != "train"), None)):
        # Otherwise what the user holds out would be trained on.
        raise DataError(
            f"{held_out} is called a split, and {folder} holds other texts than one of each split; one text for train, "
            "and one at most for validation and for test, or texts of other names are accepted."
        )
    return found


def _is_named(file: Path, names: tuple[str, ...]) -> bool:
    return re.split(r"[._-]", file.stem.lower())[-1] in names


def _find_parts(folder: Path, sought: Sought) -> dict[str, Path]:
    """The folder of each part; a folder that holds nothing but one folder stands for that one."""
    folders, has_files = _look_into(folder, sought)
    tops: dict[str, Path] = {}
    for part, names in _PART_FOLDERS.items():
        present = [each for each in folders if each.name.lower() in names]
        if len(present) > 1:
            raise DataError(f"{present[0]} and {present[1]} mean the same; one of them is accepted.")
        if present:
            tops[part] = present[0]
    if tops and "train" not in tops:
        # Otherwise images that the user holds out would become training images.
        found = next(iter(tops.values()))
        raise DataError(f"{found} stands without a folder {folder / 'train'}; both, or neither, are accepted.")
    if tops and has_files and sought != TEXT:  # a README beside a text's parts is none of them
        raise DataError(
            f"{folder} holds {sought.noun}s beside {tops['train']}, which would be left out; splits alone, or "
            f"{sought.noun}s without splits, are accepted."
        )
    beside = [each for each in folders if each not in tops.values()]
    if len(tops) == 1 and (beside := [each for each in beside if any(_walk(each, folder.resolve(), sought))]):
        # It may be a class of that name, whose splits are to be made.
        raise DataError(
            f"{beside[0]} and {tops['train']} lie side by side: {tops['train'].name!r} is a split, and the other "
            "folder would be left out. Splits around the classes are accepted, or classes with other names than "
            f"{', '.join(sorted(_SPLIT_NAMES))}, or splits alone."
        )
    if not tops and len(folders) == 1 and not has_files and not folders[0].is_symlink():
        return _find_parts(folders[0], sought)
    return tops or {ALL: folder}


def _look_into(folder: Path, sought: Sought) -> tuple[list[Path], bool]:
    """The sub-folders, sorted, and whether there are files of data beside them."""
    try:
        entries = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
        return [each for each in entries if each.is_dir()], any(sought.holds(each.name) for each in entries)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}. A readable folder is accepted.") from error


def _find_classes(tops: dict[str, Path], files: dict[str, list[Path]], sought: Sought) -> dict[str, Part]:
    """The class of each file: the sub-folder of its part that it lies in."""
    owners = {part: [_sub_folder(file, tops[part]) for file in found] for part, found in files.items()}
    inside = {part: set(found) - {None} for part, found in owners.items()}
    for part, found in owners.items():
        if None in found and inside[part]:
            beside, within = (files[part][found.index(each)] for each in (None, next(iter(inside[part]))))
            raise DataError(
                f"{beside} lies beside the folder of {within}; {sought.noun}s in sub-folders, which are then classes, "
                "or no sub-folders are accepted."
            )
    classified = [part for part in tops if inside[part]]
    names = sorted(name for name in set().union(*inside.values()) if name is not None)
    if split := next((name for name in names if ALL in tops and name.lower() in _SPLIT_NAMES), None):
        raise _hidden_split(tops[ALL] / split)
    if len(names) == 1:
        inner = {part: top / names[0] if inside[part] else top for part, top in tops.items()}
        return _find_classes(inner, files, sought)
    first = next(iter(tops))
    if not names or len(inside[first]) == len(files[first]) > 1:
        return {part: Part(found, None, ()) for part, found in files.items()}
    if first not in classified:
        raise DataError(
            f"{tops[classified[0]]} has the classes {_join(names)}, and {tops[first]} has none; classes in both, or in "
            "neither, are accepted."
        )
    for part in classified:
        _check_classes(tops, part, names, files[part], sought)
    return {
        part: Part(
            found,
            np.array([names.index(name) for name in owners[part] if name], np.int64) if part in classified else None,
            tuple(map(valid_text, names)),
        )
        for part, found in files.items()
    }


def _check_no_split_inside(tops: dict[str, Path], files: dict[str, list[Path]]) -> None:
    """Check that no folder of a part without splits is called one: what it holds out would be trained on."""
    for file in files.get(ALL, []):
        for parent in file.relative_to(tops[ALL]).parents:
            if parent.name.lower() in _SPLIT_NAMES and _has_train(tops[ALL] / parent.parent):
                raise _hidden_split(tops[ALL] / parent)


def _has_train(folder: Path) -> bool:
    return any(each.name.lower() in _PART_FOLDERS["train"] and each.is_dir() for each in folder.iterdir())


def _hidden_split(folder: Path) -> DataError:
    return DataError(
        f"{folder} is called a split, and other folders lie beside {folder.parent}, which holds it: what is held out "
        f"would be trained on. {folder.parent} itself is accepted, or folders of other names."
    )


def _sub_folder(file: Path, top: Path) -> str | None:
    """The name of the sub-folder of ``top`` that holds a file; None if it lies in ``top`` itself."""
    parts = file.relative_to(top).parts
    return parts[0] if len(parts) > 1 else None


def _check_classes(tops: dict[str, Path], part: str, names: list[str], files: list[Path], sought: Sought) -> None:
    """Check that a part has all classes, if only as empty folders, and that no class holds splits."""
    top = tops[part]
    absent = [name for name in names if not (top / name).is_dir()]
    if absent:
        holder = next(other / absent[0] for other in tops.values() if (other / absent[0]).is_dir())
        raise DataError(
            f"{holder} is a class, and {top} has no folder {valid_text(absent[0])!r}; the same classes in every split "
            f"are accepted: rename one, or make the folder, empty if the split has no such {sought.noun}."
        )
    for file in files:
        below = file.relative_to(top).parts[1:-1]
        if below and below[0].lower() in _SPLIT_NAMES:
            raise DataError(
                f"{file.parent} is a split inside a class; splits around the classes, such as "
                f"{Path(below[0], file.relative_to(top).parts[0])}, are accepted."
            )


def _join(names: list[str]) -> str:
    shown = [valid_text(name) for name in names[:MOST_LISTED]]
    return ", ".join(shown) + (f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else "")


def _list_files(top: Path, folder: Path, sought: Sought) -> list[Path]:
    # Sorted, as the order must not depend on the file system.
    files = sorted(_walk(top, folder.resolve(), sought), key=lambda file: file.relative_to(folder).as_posix())
    if not files:
        others = f", or texts ({', '.join(TEXTS)}) or recordings ({', '.join(SOUNDS)})" if sought == IMAGES else ""
        raise DataError(
            f"{top} holds no {sought.noun}; files that end in {', '.join(sought.suffixes)} are accepted{others}."
        )
    return files


def _shuffle(files: list[Path]) -> list[Path]:
    # A folder with one subfolder per class begins with files of one class.
    return [files[i] for i in permutation(len(files))]


def _walk(top: Path, root: Path, sought: Sought) -> Iterator[Path]:
    def raise_data_error(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be listed: {error.strerror}. A readable folder is accepted."
        ) from error

    if top.resolve() != root:  # The user's folder itself may be a link.
        _refuse_link(top)
    for parent, folders, names in os.walk(top, onerror=raise_data_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        wanted = [name for name in names if sought.holds(name)]
        for path in (Path(parent, name) for name in folders):
            _refuse_link(path)
        for file in (Path(parent, name) for name in wanted):
            try:
                target = file.resolve()
            except (OSError, RuntimeError) as error:  # a link to itself
                raise DataError(f"{file} cannot be followed: {error}. Files are accepted.") from error
            if not target.is_relative_to(root):
                raise DataError(f"{file} links to {target}, outside {root}; {sought.noun}s inside it are accepted.")
            # Not opened: reading a named pipe would block.
            if not file.is_file():
                raise DataError(f"{file} is a pipe, a device or a broken link; files are accepted.")
            yield file


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"{folder} is a link to a folder, which is not followed; a plain folder is accepted.")


def valid_text(name: str) -> str:
    """A name of a file, which need not be valid text, with a question mark for what is not."""
    return name.encode(errors="replace").decode()
