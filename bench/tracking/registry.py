"""The model registry: names under which clients find and serve the models of final runs."""

from __future__ import annotations

import json
import shlex
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from bench.core.redaction import redact
from bench.tracking.connection import connect, raise_tracking_errors
from bench.tracking.schema import MODEL_FOLDER

ALIAS = "champion"
PORT = 5001
"""Where the commands that we print serve a model: MLflow's UI has 5000."""


def register(client: MlflowClient, name: str, run_id: str, description: str, version_description: str) -> str:
    """Register the model of a run under a name and make it the champion; repeating this changes nothing.

    Args:
        client: client of the store that holds the run.
        name: name of the registered model; replaces characters that registries reject.
        run_id: a run with a logged model.
        description: description of the registered model, Markdown.
        version_description: description of this version, Markdown.

    Returns:
        The name of the registered model.

    Raises:
        MlflowException: the store has no registry, or rejects the model.
    """
    name = accepted_name(name)
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    version = next((v.version for v in client.search_model_versions(f"name = '{name}'") if v.run_id == run_id), None)
    if version is None:
        source, model_id = model_location(client, client.get_run(run_id))
        version = client.create_model_version(
            name, source, run_id, description=version_description, model_id=model_id
        ).version
    client.set_registered_model_alias(name, ALIAS, version)
    return name


def accepted_name(name: str) -> str:
    """A registered model's name without the characters that registries reject."""
    return name.replace("/", "-").replace(":", "-")


def model_name(study_id: str, arm: str) -> str:
    """The name under which the best model of an arm is registered."""
    return f"reparam-bench.{study_id}.{arm}"


def is_registered(uri: str, name: str) -> bool:
    """Whether a store has a champion of this name.

    Raises:
        TrackingError: the store cannot be reached.
    """
    client = connect(uri)
    with raise_tracking_errors(uri):
        found = client.search_registered_models(f"name = '{accepted_name(name)}'")
    return any(ALIAS in model.aliases for model in found)


def serve_command(uri: str, name: str) -> str:
    """The command that serves a registered model's champion on this machine, to be pasted into a shell."""
    model = shlex.quote(f"models:/{accepted_name(name)}@{ALIAS}")
    store = shlex.quote(redact(uri))
    return f"MLFLOW_TRACKING_URI={store} mlflow models serve --env-manager local --port {PORT} -m {model}"


def sample_request(n: int = 4) -> str:
    """The command that asks a model so served for samples."""
    request = json.dumps({"inputs": [], "params": {"task": "sample", "n": n}})
    return f"curl http://127.0.0.1:{PORT}/invocations -H 'Content-Type: application/json' -d '{request}'"


def model_location(client: MlflowClient, run: Any) -> tuple[str, str | None]:
    """The address of a run's model, and the identifier of its logged model if it has one.

    An address, since MLflow resolves ``models:/ID`` and paths below a run in the store of its environment, not in the
    client's.
    """
    outputs = run.outputs.model_outputs if run.outputs else []
    if not outputs:
        return f"{run.info.artifact_uri}/{MODEL_FOLDER}", None
    model_id = outputs[0].model_id
    return client.get_logged_model(model_id).artifact_location, model_id
