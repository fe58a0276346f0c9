"""The audit says what is known, and never that all is well where nothing was found out."""

from __future__ import annotations

import pytest

from tests import audit

VULNERABLE = {
    "name": "jinja2",
    "version": "3.1.2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["4"]}],
}
SOUND = {"name": "numpy", "version": "2.4", "vulns": []}
UNKNOWN = {"name": "mine", "skip_reason": "not found on PyPI"}


@pytest.fixture
def service(monkeypatch):
    """What the service answers of the lock; of the canary it knows what is known."""

    def answering(found, canary=(VULNERABLE,)):
        answers = iter([canary, found])
        monkeypatch.setattr(audit, "ask", lambda requirements: next(answers))

    return answering


@pytest.mark.parametrize("canary", [None, [], [{**VULNERABLE, "vulns": []}], [UNKNOWN]])
def test_a_service_that_knows_nothing_is_reported_and_fails_nothing(service, capsys, canary):
    service([SOUND], canary)
    assert audit.audit(audit.LOCK) == 0
    assert capsys.readouterr().out.startswith("NOT AUDITED: ")


def test_sound_packages_pass(service, capsys):
    service([SOUND, UNKNOWN])
    assert audit.audit(audit.LOCK) == 0
    out = capsys.readouterr().out
    assert "not audited, for PyPI does not know them: mine" in out
    assert "1 locked packages audited: 0 known" in out


def test_a_known_vulnerability_fails_unless_it_is_ignored_for_a_reason(service, capsys, monkeypatch):
    service([VULNERABLE, SOUND])
    assert audit.audit(audit.LOCK) == 1
    assert "jinja2 3.1.2: PYSEC-1, CVE-1; mended in 4" in capsys.readouterr().out
    monkeypatch.setattr(audit, "IGNORED", {"CVE-1": "no templates of strangers"})
    service([VULNERABLE, SOUND])
    assert audit.audit(audit.LOCK) == 0
    assert "ignored: no templates of strangers" in capsys.readouterr().out


def test_what_pip_audit_cannot_tell_is_no_answer(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(
        audit.subprocess, "run", lambda *arguments, **options: SimpleNamespace(stdout="ERROR: no route")
    )
    assert audit.ask(audit.LOCK) is None
