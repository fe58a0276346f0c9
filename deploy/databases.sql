-- MLflow and Optuna each have a database and a user of their own: the tables in which both note their version have one
-- name. The passwords come from the environment, for a command line is shown to all users of a machine.
\set ON_ERROR_STOP on
\getenv optuna_password OPTUNA_PASSWORD
\getenv mlflow_password MLFLOW_PASSWORD
CREATE ROLE optuna LOGIN PASSWORD :'optuna_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE optuna OWNER optuna;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE optuna, mlflow FROM PUBLIC;
