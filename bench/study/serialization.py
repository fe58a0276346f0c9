"""A study as JSON, which its storage holds and from which workers rebuild it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.core.errors import SettingsError
from bench.core.extensions import check_extensions, extension_digests
from bench.data.dataset import DatasetInfo
from bench.runtime.provenance import code_version
from bench.study import search_space as space
from bench.study.config import TrainingConfig
from bench.study.definition import ENGINE, Arm, BoundStudy, Earlier, Study, StudySettings
from models.base.registry import AnyModelConfig

_MODEL: TypeAdapter[Any] = TypeAdapter(AnyModelConfig)
_INFO = TypeAdapter(DatasetInfo)
_OWN = {"storage", "tracking_uri", "output", "workers", "promote", *ENGINE}
"""Settings of each process; addresses may hold credentials, which are not stored, and promotions are stored with the
search that they are of."""


def to_json(bound: BoundStudy) -> dict[str, Any]:
    """The study, its settings, its data and the version of the code."""
    study = bound.study
    return {
        "study_id": bound.study_id,
        "study": {"name": study.name, "question": study.question, "sampler": study.sampler},
        "arms": [
            {
                "name": arm.name,
                "model": arm.model.model_dump(mode="json"),
                "sweep": space.to_json(arm.sweep),
                "training": arm.training.model_dump(mode="json", exclude_unset=True),
            }
            for arm in study.arms
        ],
        "settings": bound.settings.model_dump(mode="json", exclude=_OWN),
        "info": asdict(bound.info),
        "digest": bound.digest,
        "labels": bound.labels,
        "held_out": bound.held_out,
        "budgets": {
            arm.name: [training.images // training.evaluations, training.evaluations]
            for arm in study.arms
            if not (training := bound.base(arm).training).depends_on_budget
        },
        "images": dict(bound.images),
        "code": code_version(bound.settings.backend),
        "extensions": extension_digests(),
    }


def from_json(written: Mapping[str, Any], storage: str | None, tracking_uri: str | None, output: Path) -> BoundStudy:
    """The study that :func:`to_json` has written, with this process's own addresses and folder.

    Raises:
        SettingsError: other code has written it, or it becomes another study here.
    """
    check_extensions(written["extensions"].items())
    check_code(written, mixed=bool(written["settings"]["mixed_code"]))
    arms = tuple(
        Arm(
            name=arm["name"],
            model=_MODEL.validate_python(arm["model"]),
            sweep=space.from_json(arm["sweep"]),
            training=TrainingConfig.model_validate(arm["training"]),
        )
        for arm in written["arms"]
    )
    settings = StudySettings.from_options(
        {**written["settings"], "storage": storage, "tracking_uri": tracking_uri, "output": output}
    )
    info = _INFO.validate_python(written["info"])
    study = Study(arms=arms, **written["study"])
    earlier = earlier_budgets(written)
    held_out = written.get("held_out", "")
    bound = BoundStudy(
        study, settings, info, written["digest"], written["labels"], earlier, written.get("images", {}), held_out
    )
    if bound.study_id != written["study_id"]:
        raise SettingsError(
            f"{written['study_id']} becomes {bound.study_id} here: its configuration or this code has changed"
        )
    return bound


def earlier_budgets(written: Mapping[str, Any]) -> dict[str, Earlier]:
    """The budgets that a study's arms have had, of what :func:`to_json` has written."""
    return {arm: Earlier(*budget) for arm, budget in written.get("budgets", {}).items()}


def check_code(written: Mapping[str, Any], mixed: bool) -> None:
    """Refuse to continue a study that other code began, unless ``mixed`` is set.

    Raises:
        SettingsError: the code differs; the message says how, and what to do.
    """
    theirs = written["code"]
    ours = code_version(written["settings"]["backend"])
    changed = [
        f"{name} {theirs.get(name)} then, {version} now"
        for name, version in ours.items()
        if theirs.get(name) != version
    ]
    if changed and not mixed:
        raise SettingsError(
            f"{written['study_id']} was begun by other code ({'; '.join(changed)}), and two must not mix silently: "
            "continue with that code, start again with another --output, or mix them with --mixed-code"
        )
