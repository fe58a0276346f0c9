"""The only folder that uses MLflow: logs studies, and reads them back.

There is an experiment per study, a parent run per study and data set, and a child run per trained model. Slashes group
metric keys. The coordinator writes a study's own run directly; model runs go to an outbox on disk, which a thread
uploads, so that training never waits for the store. A value's standard error is the metric ``KEY_standard_error``
beside it; its number of observations, its bound and its conditions are in the tag ``reparam.details.SPLIT``, so that
one search reads a whole study.
"""

import os
import warnings

# MLflow draws a progress bar for every small file that it downloads, and logs every table that it creates.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# Its warnings go to the command's log instead of stderr.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
# It would send which of its functions are called to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# It would copy a uv.lock of the current folder into every logged model.
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# It would request every run once more at its end, to print its address amid the command's output.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
TIMEOUT_IS_THE_USERS = TIMEOUT in os.environ
# Seconds until a request to a hanging server fails, instead of two minutes: it is repeated anyway.
os.environ.setdefault(TIMEOUT, "30")
# In a notebook, even disabled progress bars warn of missing widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
