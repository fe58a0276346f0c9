"""Collect what a machine lacks that has Python, jax, numpy and scipy, and no network: ``… wheels FOLDER [--study]``.

The wheels, in the versions that are installed here, are laid into FOLDER/1, FOLDER/2, …, none larger than a limit, so
that they can be carried one after the other. There, all of them are installed by

    pip install --no-index --no-deps FOLDER/*/*.whl

Two sets: what every part but the study needs, and with ``--study`` what the study needs too. Of mlflow, only
what mlflow-skinny needs comes along: a study that logs to a file uses none of mlflow's servers. What it does use is
large: pyarrow alone, which writes the tables of the report, is 48 MiB, so that the study's set takes several folders.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MEASUREMENTS = (
    *("filelock", "keras", "pandas", "psutil", "pydantic"),
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis"),
)
STUDY = (
    *("jinja2", "matplotlib", "mlflow-skinny", "optuna", "packaging", "pillow", "plotly", "pyarrow"),
    *("rich", "scikit-learn", "sqlalchemy", "sqlparse", "threadpoolctl", "typer"),
)
BARE = ("mlflow",)
"""For the study, without what they need themselves; a served model names mlflow, and not mlflow-skinny."""
THERE = ("jax", "jaxlib", "numpy", "scipy", "ml-dtypes", "opt-einsum")
"""With JAX comes what it needs itself."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64", "manylinux_2_24_x86_64")
MIB = 2**20


def main() -> None:
    """Download, divide, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty or a new one")
    parser.add_argument("--study", action="store_true", help="what the study needs, too")
    parser.add_argument("--python-version", help="of the machine, such as 3.12 [default: this one's]")
    parser.add_argument("--limit", type=float, default=58.0, help="MiB of a folder")
    options = parser.parse_args()
    wanted = [*MEASUREMENTS, *STUDY] if options.study else MEASUREMENTS
    collect(wanted, options.folder, options.python_version, options.limit, BARE if options.study else ())


def collect(
    wanted: Iterable[str], folder: Path, python_version: str | None, limit: float, bare: Iterable[str] = ()
) -> None:
    """Download the packages with all that they need, and the bare ones; divide them into folders of ``limit`` MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        _download([*closure(wanted), *bare], Path(temporary), python_version)
        folders = divided({wheel: wheel.stat().st_size for wheel in Path(temporary).iterdir()}, limit * MIB)
        for number, wheels in enumerate(folders, 1):
            target = folder / str(number)
            target.mkdir()
            size = sum(wheel.stat().st_size for wheel in wheels)
            for wheel in wheels:
                wheel.replace(target / wheel.name)
            print(f"{target}: {len(wheels)} wheels, {size / MIB:.1f} MiB")


def closure(names: Iterable[str]) -> list[str]:
    """These packages and all that they need, but for what is there already."""
    found: dict[str, None] = {}
    open_ones = [canonicalize_name(name) for name in names]
    while open_ones:
        name = open_ones.pop()
        if name in found or name in THERE:
            continue
        found[name] = None
        needed = map(Requirement, requires(name) or [])
        open_ones += [
            canonicalize_name(each.name)
            for each in needed
            if each.marker is None or each.marker.evaluate({"extra": ""})
        ]
    return sorted(found)


def _download(names: Iterable[str], folder: Path, python_version: str | None) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder)]
    if python_version:
        command += ["--python-version", python_version, *(f"--platform={platform}" for platform in PLATFORMS)]
    subprocess.run([*command, *(f"{name}=={version(name)}" for name in names)], check=True)


def divided(sizes: dict[Path, int], limit: float) -> list[list[Path]]:
    """The files in as few groups as come of putting each, the largest first, where there is still room."""
    groups: list[list[Path]] = []
    for file in sorted(sizes, key=lambda file: -sizes[file]):
        if sizes[file] > limit:
            raise SystemExit(f"error: {file.name} alone is larger than {limit / MIB:g} MiB")
        roomy = (group for group in groups if sum(sizes[each] for each in group) + sizes[file] <= limit)
        group = next(roomy, None)
        if group is None:
            groups.append([file])
        else:
            group.append(file)
    return groups


if __name__ == "__main__":
    main()
