"""The only folder that talks to MLflow: what a study logs, and how it is read back.

An experiment per study, a parent run per study and data set, a child run per trained model. Metric keys are grouped by
slash. The coordinator writes a study's own run at once; a model's run is written to an outbox on disk, which a
thread uploads, so that training never waits for the store. A value's standard error is logged beside it as
``KEY_standard_error``; its number of observations, its bound and its conditions are kept in tags
``reparam.details.SPLIT``, so that a whole study is read back with one search.
"""

import os
import warnings

# MLflow draws a progress bar for every small file that it fetches, and tells of every table that it makes.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# Its warnings go where the command's log goes, not past it to stderr.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
# It would copy a uv.lock from the folder that a person happens to be in into every logged model.
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# It would ask for every run that ends once more, to print its address between the lines of the command.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
TIMEOUT_IS_THE_USERS = TIMEOUT in os.environ
# A server that hangs is given up after this many seconds, not after two minutes: it is asked again anyway.
os.environ.setdefault(TIMEOUT, "30")
# In a notebook its progress bars, which are off, ask for widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
