"""Reads the reference codes that a study logged with its own run."""

from __future__ import annotations

from collections.abc import Mapping

from bench.core.results import REFERENCE_CODES, REFERENCE_MODEL, Measurement, ReferenceCodes
from bench.tracking.run_tags import raise_if_edited, read_json
from bench.tracking.schema import DETAILS_TAG, ERROR_SUFFIX, UNAVAILABLE_TAG


def read_reference_codes(run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> ReferenceCodes:
    """What the tags and metrics of a study's own run say; empty where it has logged none.

    Raises:
        DisagreementError: they are not as a study logs them.
    """
    unavailable = read_json(run_id, tags, UNAVAILABLE_TAG, {})
    groups = {
        group: read_json(run_id, tags, f"{DETAILS_TAG}{group}", {}) for group in (REFERENCE_CODES, REFERENCE_MODEL)
    }
    with raise_if_edited(run_id):
        measured = [
            Measurement(
                group,
                name,
                metrics[f"{group}/{name}"],
                metrics.get(f"{group}/{name}{ERROR_SUFFIX}"),
                None if group == REFERENCE_MODEL and "n" not in detail else int(detail["n"]),
                conditions=str(detail.get("conditions", "")),
            )
            for group, details in groups.items()
            for name, detail in details.items()
        ]
        return ReferenceCodes(measured, {name: str(reason) for name, reason in unavailable.items()})
