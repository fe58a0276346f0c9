"""The checks of a user's file on one backend: ``python -m bench.checks.conformance BACKEND < JOB``."""

import json
import sys

from bench.checks.conformance.file import run_job
from bench.core.errors import SettingsError

try:
    found = run_job(sys.argv[1], json.load(sys.stdin))
except SettingsError as error:
    sys.exit(str(error))
sys.stdout.write(json.dumps(found) + "\n")
