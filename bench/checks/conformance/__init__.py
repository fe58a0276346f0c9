"""Conformance: what every model family must do, checked on images so small that all of them can be counted.

Our own families pass it in the tests, and ``reparam-bench check my_model.py`` runs it on a user's. Each check is a
function of a :class:`Subject`. It returns what it found in a few words, or raises :class:`FailedError`; any other error
is a failure too. Weights are perturbed before they are checked, as initial values such as zeros and identities hide
mistakes.
"""

from bench.checks.conformance.family import CHECKS, check_family
from bench.checks.conformance.file import check_file, registered_by
from bench.checks.conformance.outcome import CheckResult, FailedError, Outcome, SkippedError
from bench.checks.conformance.subject import Subject

__all__ = [
    "CHECKS",
    "CheckResult",
    "FailedError",
    "Outcome",
    "SkippedError",
    "Subject",
    "check_family",
    "check_file",
    "registered_by",
]
