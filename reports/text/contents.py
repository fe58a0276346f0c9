"""What a report says of a study, computed once: the page and the files beside it state the same objects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from reports.analysis import differences, findings, levels
from reports.text import answer

if TYPE_CHECKING:
    from reports.analysis.differences import Difference
    from reports.analysis.findings import Finding
    from reports.analysis.levels import Measured
    from reports.analysis.results import Study
    from reports.text.answer import Answer


@dataclass(frozen=True)
class Contents:
    """A study's answer, measurements, differences and findings."""

    study: Study

    @cached_property
    def answer(self) -> Answer:
        """The answer in sentences, with the ranking that they state."""
        return answer.answer(self.study)

    @cached_property
    def measured(self) -> list[Measured]:
        """What each arm reached in each metric: the comparison table."""
        return levels.measured(self.study)

    @cached_property
    def differences(self) -> list[Difference]:
        """Every tested difference between two arms."""
        return differences.differences(self.study)

    @cached_property
    def findings(self) -> list[Finding]:
        """What the diagnostics found, alarms first."""
        return findings.findings(self.study)
