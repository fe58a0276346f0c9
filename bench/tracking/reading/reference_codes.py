"""Reads the reference codes that a study logged with its own run."""

from __future__ import annotations

from collections.abc import Mapping

from bench.core.results import REFERENCE_CODES, Measurement, ReferenceCodes
from bench.tracking.run_tags import raise_if_edited, read_json
from bench.tracking.schema import ERROR_SUFFIX, REFERENCE_CODES_TAG, UNAVAILABLE_TAG


def read_reference_codes(run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> ReferenceCodes:
    """What the tags and metrics of a study's own run say; empty where it has logged none.

    Raises:
        DisagreementError: they are not as a study logs them.
    """
    details = read_json(run_id, tags, REFERENCE_CODES_TAG, {})
    unavailable = read_json(run_id, tags, UNAVAILABLE_TAG, {})
    with raise_if_edited(run_id):
        measured = [
            Measurement(
                REFERENCE_CODES,
                name,
                metrics[f"{REFERENCE_CODES}/{name}"],
                metrics.get(f"{REFERENCE_CODES}/{name}{ERROR_SUFFIX}"),
                int(detail["n"]),
                conditions=str(detail.get("conditions", "")),
            )
            for name, detail in details.items()
        ]
        return ReferenceCodes(measured, {name: str(reason) for name, reason in unavailable.items()})
