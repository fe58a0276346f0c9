"""What ``deploy/`` offers for servers and clusters: nothing open to others, no secret in a file, scripts that work."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy
import yaml

from bench.core.logs import shorten

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.iterdir() if path.name != ".env")
SCRIPTS = [path for path in FILES if path.suffix == ".sh"]
VARIABLE = re.compile(r"\$\{(\w+)")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_containers_are_reached_on_loopback_alone(services):
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any("network_mode" in service for service in services.values())


def test_images_are_of_one_version_and_mlflow_of_the_one_that_is_tested(services):
    tags = {name: service["image"].rpartition(":")[2] for name, service in services.items()}
    assert all(re.search(r"\d+\.\d+", tag) for tag in tags.values())
    locked = re.search(r"^mlflow==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert tags["mlflow"] == f"v{locked[1]}-full"


def test_containers_tell_their_health_and_keep_their_data(services):
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in services.values())
    named = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["volumes"]
    assert {service["volumes"][0].partition(":")[0] for service in services.values()} == set(named)


def test_the_example_names_every_variable_of_the_containers():
    used = set(VARIABLE.findall((DEPLOY / "compose.yaml").read_text()))
    named = re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE)
    assert set(named) == used
    assert set(re.findall(r"\\getenv \w+ (\w+)", (DEPLOY / "databases.sql").read_text())) <= used


def literal_secrets(text: str) -> list[str]:
    """Values that are given to a password, or stand in an address, without being those of a variable."""
    given = re.findall(r"password\w*[\"']?[ \t]*(?::(?!')|=)[ \t]*(?![$?])(\S+)", text, re.IGNORECASE)
    in_addresses = re.findall(r"://[^\s:@/]*:(?!\$)([^\s@/]+)@", text)
    return given + in_addresses


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_password(path):
    assert literal_secrets(path.read_text()) == []


@pytest.mark.parametrize(
    "text", ["PASSWORD=hunter2", "POSTGRES_PASSWORD: 'hunter2'", 'password = "x"', "postgresql://me:hunter2@host/db"]
)
def test_a_password_in_a_file_is_noticed(text):
    assert literal_secrets(text)


def test_the_file_of_passwords_stays_out_of_git():
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "deploy/.env"], cwd=ROOT, check=False)
    if ignored.returncode == 128:
        pytest.skip("this is no git checkout: nothing can be said of what git ignores")
    assert ignored.returncode == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_programs_that_bash_understands(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_the_linter(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed here: it checks the scripts of deploy/")
    subprocess.run(["shellcheck", script], check=True)


def test_servers_are_refused_to_root_and_to_a_wrong_command(tmp_path):
    refused = subprocess.run(
        [DEPLOY / "servers.sh", "begin", tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == 2
    assert "start|status|stop FOLDER" in refused.stderr
    if os.geteuid() != 0:
        pytest.skip("this is not root: that it is refused cannot be seen")
    refused = subprocess.run(
        [DEPLOY / "servers.sh", "start", tmp_path / "servers"], capture_output=True, text=True, check=False, timeout=60
    )
    assert refused.returncode == 2
    assert "refuses to run as root" in refused.stderr
    assert not (tmp_path / "servers").exists()


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a cluster whose commands note what they are asked; a step ends as the test says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    answers = {
        "sbatch": "echo 41",
        "scontrol": "",
        "srun": 'n=$(cat "$NOTES/steps" 2>/dev/null || echo 0); echo $((n + 1)) >"$NOTES/steps"\n'
        "statuses=($STATUSES); exit ${statuses[n]}",
    }
    for name, answer in answers.items():
        program = programs / name
        program.write_text(f'#!/bin/bash\necho "{name} $*" >>"$NOTES/asked"\n{answer}\n')
        program.chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NOTES": str(tmp_path),
        "OUTPUT": str(tmp_path / "runs"),
        "RETRY_SECONDS": "0",
        "REPARAM_BENCH_STORAGE": "postgresql+psycopg2://optuna:hunter2@head/optuna",
        "REPARAM_BENCH_TRACKING_URI": "http://head:5000",
    }


def asked(cluster: dict[str, str], *words: str, status: int = 0) -> list[str]:
    """What the cluster is asked by the script."""
    ended = subprocess.run(
        [DEPLOY / "slurm.sh", *words], env=cluster, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == status, ended.stderr
    notes = Path(cluster["NOTES"]) / "asked"
    return notes.read_text().splitlines() if notes.exists() else []


def test_a_study_is_submitted_as_a_coordinator_and_an_array_of_workers(cluster):
    cluster["WORKER_OPTIONS"] = "--partition=long --gpus=2"
    study = ("vae_vs_glow", "--dataset", "mnist")
    coordinator, workers = asked(cluster, "submit", "vae_vs_glow-mnist", "8", *study)
    assert coordinator.endswith("slurm.sh coordinate vae_vs_glow --dataset mnist")
    assert workers.endswith(
        f"--array=1-8 --dependency=after:41 --partition=long --gpus=2 {DEPLOY / 'slurm.sh'} work vae_vs_glow-mnist"
    )
    assert "hunter2" not in coordinator + workers
    assert (Path(cluster["OUTPUT"]) / "logs").is_dir()


def test_the_coordinator_leaves_the_work_to_others(cluster):
    cluster["STATUSES"] = "0"
    [step] = asked(cluster, "coordinate", "vae_vs_glow", "--trials", "3")
    assert step.endswith(f"reparam-bench study vae_vs_glow --trials 3 --workers 0 --output {cluster['OUTPUT']}")


def test_a_worker_waits_for_its_study_to_begin(cluster):
    cluster["STATUSES"] = "2 2 0"
    steps = asked(cluster, "work", "vae_vs_glow-mnist")
    assert len(steps) == 3
    assert "reparam-bench worker vae_vs_glow-mnist" in steps[0]


def test_a_worker_does_not_wait_for_ever(cluster):
    cluster |= {"STATUSES": "2 2 2 2", "START_SECONDS": "0"}
    assert len(asked(cluster, "work", "vae_vs_glow-mnist", status=2)) == 1


@pytest.mark.parametrize("status", [130, 143])
@pytest.mark.parametrize(("seconds_left", "is_queued_again"), [(60, True), (3600, False)])
def test_a_job_whose_time_is_over_is_queued_again_and_one_that_is_cancelled_is_not(
    cluster, seconds_left, is_queued_again, status
):
    now = int(subprocess.check_output(["date", "+%s"]))
    cluster |= {"STATUSES": str(status), "SLURM_JOB_ID": "42", "SLURM_JOB_END_TIME": str(now + seconds_left)}
    requests = asked(cluster, "work", "vae_vs_glow-mnist", status=status)
    assert ("scontrol requeue 42" in requests) == is_queued_again


def test_no_job_is_submitted_without_the_addresses(cluster):
    del cluster["REPARAM_BENCH_STORAGE"]
    assert asked(cluster, "submit", "vae_vs_glow-digits", "2", "vae_vs_glow", status=1) == []


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def unprivileged() -> list[str]:
    """What makes a command run as somebody whom PostgreSQL does not refuse."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("this is root, whom PostgreSQL refuses, and setpriv is not installed")
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in names)
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


@pytest.fixture
def folder(unprivileged: list[str]) -> Iterator[Path]:
    # Not in a folder of pytest's, which its owner alone may enter.
    path = Path(tempfile.mkdtemp(prefix="servers-"))
    if unprivileged:
        shutil.chown(path, user=unprivileged[1].partition("=")[2])
    yield path
    shutil.rmtree(path)


@pytest.mark.faults
def test_servers_start_serve_and_stop(unprivileged, folder, monkeypatch):
    if shutil.which("initdb") is None and not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("PostgreSQL is not installed here")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed here: PostgreSQL cannot be reached")
    # By a shell, as the script does: setpriv itself still finds what its user may not.
    found = subprocess.run(
        [*unprivileged, "sh", "-c", '"$0" -c "import psycopg2"', sys.executable], capture_output=True, check=False
    )
    if found.returncode:
        user = pwd.getpwuid(os.geteuid()).pw_name if not unprivileged else unprivileged[1].partition("=")[2]
        pytest.skip(f"{sys.executable} cannot be run by {user}: {shorten(found.stderr.decode())}")
    environment = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(folder),
        "PYTHON": sys.executable,
        "POSTGRES_PORT": free_port(),
        "MLFLOW_PORT": free_port(),
    }
    kept = folder / "servers"

    def servers(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*unprivileged, DEPLOY / "servers.sh", command, kept],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    try:
        began = servers("start")
        assert began.returncode == 0, began.stderr
        assert servers("status").returncode == 0
        passwords = [line.rpartition(":")[2] for line in (kept / "pgpass").read_text().splitlines()]
        assert len(set(passwords)) == 3
        mine = [each for each in psutil.process_iter() if str(kept) in " ".join(shown(each))]
        assert len(mine) >= 2
        shown_text = (
            began.stdout + began.stderr + "".join(word for each in psutil.process_iter() for word in shown(each))
        )
        assert not any(password in shown_text for password in passwords)
        assert {path.stat().st_mode & 0o077 for path in (kept, kept / "pgpass")} == {0}
        listening = {each.laddr.ip for process in mine for each in process.net_connections() if each.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
        address = re.search(r"REPARAM_BENCH_STORAGE=(\S+)", began.stdout)
        assert address is not None
        engine = sqlalchemy.create_engine(address[1], poolclass=sqlalchemy.NullPool)
        monkeypatch.setenv("PGPASSFILE", str(folder / "none"))
        with pytest.raises(sqlalchemy.exc.OperationalError, match="password"):
            engine.connect()
        monkeypatch.setenv("PGPASSFILE", str(kept / "pgpass"))
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "optuna"
        with pytest.raises(sqlalchemy.exc.OperationalError, match="permission denied"):
            sqlalchemy.create_engine(engine.url.set(database="mlflow")).connect()
        health = f"http://127.0.0.1:{environment['MLFLOW_PORT']}/health"
        with urllib.request.urlopen(health, timeout=60) as answer:
            assert answer.status == 200
        assert servers("stop").returncode == 0
        assert servers("status").returncode == 3
        assert not any(lives(process) for process in mine)
        again = servers("start")
        assert (again.returncode, again.stdout) == (0, began.stdout), again.stderr
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT current_user")).scalar() == "optuna"
    finally:
        servers("stop")


def shown(process: psutil.Process) -> list[str]:
    """The command line of a process, as all users see it; of one that has just ended, none."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def lives(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that nobody has asked how it ended has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
