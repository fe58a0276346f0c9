"""The command line as a user meets it, in an empty folder, and a store with a study that has just begun."""

from __future__ import annotations

import gc
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.data.bundled import DIGITS
from bench.tracking.opening import open_study

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Run a command line in an empty folder: exit status, standard output, standard error."""
    from studies.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reparam-bench", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    collection = gc.get_threshold()
    yield run
    gc.set_threshold(*collection)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port on which nothing listens, another one at each call."""

    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port


class Refusals:
    """What is asked of a command line that is refused: one readable line, and everything left as it was."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli = cli
        self.folder = folder

    def __call__(self, message: str, *arguments: str) -> None:
        """Run a command line that must be refused."""
        before = self.everything()
        self.check(self.cli(*arguments), message)
        assert self.everything() == before

    def check(self, outcome: tuple[int, str, str], message: str) -> None:
        """What a refusal says: the ``message``, and neither more than a line nor any credentials."""
        code, out, err = outcome
        assert (code, out) == (2, ""), err
        assert len(err.splitlines()) == 1, err
        assert err.startswith("error: ")
        assert re.search(message, err), err
        assert "Traceback" not in err
        assert "secret" not in err
        assert len(err) < 1100

    def everything(self) -> dict[str, object]:
        """Each path below the folder, with what it is and holds; what Python compiled of scripts is its own."""
        paths = [path for path in sorted(self.folder.rglob("*")) if "__pycache__" not in path.parts]
        return {str(path): self._held(path) for path in paths}

    def _held(self, path: Path) -> object:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return path.readlink()
        return path.read_bytes() if stat.S_ISREG(mode) else stat.S_IFMT(mode)


@pytest.fixture
def refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Run a command line that must be refused before any work begins, and leave everything as it was."""

    def begin(*arguments: object) -> None:
        raise AssertionError("it was not refused")

    # All before any is patched, for one that was first imported in the test would keep what is patched.
    modules = [import_module(f"bench.{name}") for name in ("execution.session", "workflows.run", "runtime.backend")]
    for module in modules:
        monkeypatch.setattr(module, "select_backend", begin)
    # Nobody waits for a server.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Refusals(cli, tmp_path)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The bytes of a database of MLflow's, of one of Optuna's and of a journal, with little in them."""
    import optuna

    from bench.tracking.tracker import Tracker

    folder = tmp_path_factory.mktemp("stores")
    assert Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder, folder / "outbox").client.search_experiments()
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.journal"))
    for kept in (f"sqlite:///{folder / 'optuna.db'}", optuna.storages.JournalStorage(backend)):
        optuna.create_study(storage=kept, study_name="a").add_trial(optuna.trial.create_trial(value=1.0))
    return SimpleNamespace(**{path.stem: path.read_bytes() for path in folder.iterdir() if path.is_file()})


@pytest.fixture(scope="session")
def partial_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a study that has just begun: one trial complete, one under way."""
    from bench.core.results import Bound, BoundKind, EvaluationRecord, Measurement, RunState
    from bench.study.config import RunConfig, TrainingConfig
    from bench.tracking.schema import StudyDescription
    from bench.tracking.tracker import Tracker
    from models.vae.config import VAEConfig

    output = tmp_path_factory.mktemp("partial")
    study = StudyDescription(
        study_id="partial-digits-00000000",
        name="partial",
        question="How far is it?",
        arms={"vae": "vae"},
        swept={"vae": ["latent_size"]},
        settings={"trials": 4, "seeds": 1},
        provenance={"commit": "0" * 40, "dirty": False, "backend": "jax", "command": "reparam-bench study partial"},
        dataset=DIGITS,
        digest="0" * 64,
    )
    tracker = Tracker(f"sqlite:///{output / 'mlflow.db'}", output / "artifacts", output / "outbox")
    parent = open_study(tracker, study)
    config = RunConfig(model=VAEConfig(latent_size=4), training=TrainingConfig(), dataset_digest="0", backend="jax")
    for number in range(2):
        tried = config.with_values({"latent_size": 4 + number})
        run = parent.start_run(f"vae #{number}", "search", "vae", 0, tried, number)
        run.log_evaluation(EvaluationRecord(1, 128, 0.5, {"train/bits_per_dim": 3.0, "validation/bits_per_dim": 2.75}))
        if number == 0:
            bound = Bound(BoundKind.IMPORTANCE_WEIGHTED, 16)
            run.log_measurements([Measurement("validation", "bits_per_dim", 2.5, 0.01, 179, bound)])
            run.finish(RunState.COMPLETE)
    assert tracker.drain() == 0
    return output
