"""Known vulnerabilities of the locked dependencies: ``make audit``.

It fails where one is known. Where the service that knows them does not answer, or answers as if it knew none, nothing
is found out: that is said, and fails nothing, for a network without the service must not stop the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
CANARY = "jinja2==3.1.2"
"""Known to be vulnerable: a service, or a mirror in its place, that does not say so knows nothing of others either."""
IGNORED: dict[str, str] = {}
"""Vulnerabilities that do not concern this project: identifier -> why."""


def ask(requirements: Path) -> list[dict[str, Any]] | None:
    """What pip-audit finds of each requirement; None where its service does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--format", "json"]
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return None
    return found


def is_answered() -> bool:
    """Whether the service knows what is known."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "canary.txt")
        requirements.write_text(CANARY)
        found = ask(requirements)
    return bool(found) and any(each.get("vulns") for each in found)


def audit(lock: Path) -> int:
    """Tell of each known vulnerability of the locked packages; the exit status."""
    found = ask(lock) if is_answered() else None
    if found is None:
        print(
            f"NOT AUDITED: the vulnerability service of PyPI does not answer here (asked of {CANARY}, it knew nothing)"
        )
        return 0
    skipped = [each["name"] for each in found if "skip_reason" in each]
    if skipped:
        print(f"not audited, for PyPI does not know them: {', '.join(skipped)}")
    concerning = 0
    for package in found:
        for each in package.get("vulns", ()):
            names = [each["id"], *each["aliases"]]
            reason = next((IGNORED[name] for name in names if name in IGNORED), None)
            mended = ", ".join(each["fix_versions"]) or "no version yet"
            concerning += reason is None
            verdict = f"ignored: {reason}" if reason else f"mended in {mended}; make lock takes newer versions"
            print(f"{package['name']} {package['version']}: {', '.join(names)}; {verdict}")
    print(f"{len(found) - len(skipped)} locked packages audited: {concerning} known vulnerabilities that concern them")
    return 1 if concerning else 0


if __name__ == "__main__":
    sys.exit(audit(LOCK))
