"""The model registry: a name by which the model of a final run is found and served."""

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient

from bench.tracking.schema import MODEL_FOLDER

ALIAS = "champion"


def register(client: MlflowClient, name: str, run_id: str, about: str, about_version: str) -> str:
    """Make the model of a run the champion under a name; nothing changes if it is already.

    Args:
        client: of the store that holds the run.
        name: of the registered model; characters that a registry rejects are replaced.
        run_id: a run with a logged model.
        about: description of the registered model, Markdown.
        about_version: description of this version, Markdown.

    Returns:
        The name under which it is registered.

    Raises:
        MlflowException: the store keeps no registry, or rejects.
    """
    name = name.replace("/", "-").replace(":", "-")
    try:
        client.create_registered_model(name, description=about)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
    version = next((v.version for v in client.search_model_versions(f"name = '{name}'") if v.run_id == run_id), None)
    if version is None:
        source, model_id = model_location(client, client.get_run(run_id))
        version = client.create_model_version(
            name, source, run_id, description=about_version, model_id=model_id
        ).version
    client.set_registered_model_alias(name, ALIAS, version)
    return name


def model_location(client: MlflowClient, run: Any) -> tuple[str, str | None]:
    """Where a run's model is kept, and the identifier of its logged model if it has one.

    As a place, for MLflow looks for ``models:/ID`` and for paths below a run that lead to a logged model in the store
    of its environment, whatever the client's is.
    """
    outputs = run.outputs.model_outputs if run.outputs else []
    if not outputs:
        return f"{run.info.artifact_uri}/{MODEL_FOLDER}", None
    model_id = outputs[0].model_id
    return client.get_logged_model(model_id).artifact_location, model_id
