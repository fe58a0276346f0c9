#!/usr/bin/env bash
# PostgreSQL for Optuna and MLflow, and an MLflow server, without containers, on the loopback interface alone.
#
#   deploy/servers.sh start FOLDER    make what is missing in FOLDER, start both, print their addresses
#   deploy/servers.sh status FOLDER   say whether they run; the exit status is 3 if one does not
#   deploy/servers.sh stop FOLDER     stop both; what they hold is kept in FOLDER
#
# Environment: POSTGRES_PORT (5432), MLFLOW_PORT (5000), PYTHON (of the environment that has mlflow and psycopg2; by
# default this project's), POSTGRES_PROGRAMS (folder of initdb, pg_ctl and psql, if it is not found).
#
# The passwords are made here and kept in FOLDER/pgpass, which its owner alone can read and which PostgreSQL's library
# looks them up in: they stand in no address, no command line and no output.
set -euo pipefail
umask 077

readonly HOST=127.0.0.1
readonly POSTGRES_PORT=${POSTGRES_PORT:-5432}
readonly MLFLOW_PORT=${MLFLOW_PORT:-5000}
readonly START_SECONDS=240
readonly STOP_SECONDS=10
HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly HERE

fail() {
    echo "error: $1" >&2
    exit "${2:-1}"
}

find_programs() {
    local folder
    for folder in ${POSTGRES_PROGRAMS:+"$POSTGRES_PROGRAMS"} "$(dirname -- "$(command -v initdb || echo /none)")" \
        /usr/lib/postgresql/*/bin; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/psql ]]; then
            echo "$folder"
            return
        fi
    done
    fail "PostgreSQL is not found: install it, or name the folder of initdb, pg_ctl and psql in POSTGRES_PROGRAMS" 2
}

find_python() {
    local python=${PYTHON:-$HERE/../.venv/bin/python}
    "$python" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("mlflow", "psycopg2"))))' ||
        fail "$python lacks mlflow or psycopg2: install psycopg2-binary there, or name another in PYTHON" 2
    echo "$python"
}

new_password() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# Beside its final name, so that what is interrupted is begun anew.
make_databases() {
    local new=$folder/postgres.new superuser
    rm -rf -- "$new"
    superuser=$(new_password)
    OPTUNA_PASSWORD=$(new_password)
    MLFLOW_PASSWORD=$(new_password)
    export OPTUNA_PASSWORD MLFLOW_PASSWORD
    printf '%s\n' "$superuser" >"$folder/superuser"
    printf '%s:*:*:%s:%s\n' "$HOST" postgres "$superuser" "$HOST" optuna "$OPTUNA_PASSWORD" \
        "$HOST" mlflow "$MLFLOW_PASSWORD" >"$folder/pgpass"
    "$programs/initdb" --pgdata "$new" --username postgres --auth scram-sha-256 --pwfile "$folder/superuser" \
        --encoding UTF8 --locale C >"$folder/initdb.log"
    rm -- "$folder/superuser"
    # Each process of a study holds several connections.
    printf '%s\n' "listen_addresses = '$HOST'" "unix_socket_directories = ''" 'max_connections = 300' \
        >>"$new/postgresql.conf"
    start_postgres "$new"
    "$programs/psql" --no-psqlrc --quiet --host "$HOST" --port "$POSTGRES_PORT" --username postgres --no-password \
        --file "$HERE/databases.sql" || {
        stop_postgres "$new"
        fail "the databases cannot be made"
    }
    unset OPTUNA_PASSWORD MLFLOW_PASSWORD
    stop_postgres "$new"
    mv -- "$new" "$folder/postgres"
}

postgres_runs() {
    "$programs/pg_ctl" status --pgdata "$1" >/dev/null 2>&1
}

start_postgres() {
    "$programs/pg_ctl" start --silent --wait --timeout "$START_SECONDS" --pgdata "$1" --log "$folder/postgres.log" \
        --options "-p $POSTGRES_PORT" || fail "PostgreSQL does not start: $(tail -n 1 "$folder/postgres.log")"
}

stop_postgres() {
    "$programs/pg_ctl" stop --silent --wait --mode fast --pgdata "$1"
}

# Its number alone would not do: after a restart of the machine another process may have it.
mlflow_runs() {
    local command
    [[ -f $folder/mlflow.pid ]] || return 1
    command=$(ps -ww -o args= -p "$(<"$folder/mlflow.pid")") || return 1
    [[ $command == *"mlflow server"*"$folder/artifacts"* ]]
}

mlflow_answers() {
    "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' \
        "http://$HOST:$MLFLOW_PORT/health" 2>/dev/null >&2
}

start_mlflow() {
    local until=$((SECONDS + START_SECONDS))
    if mlflow_answers; then
        fail "port $MLFLOW_PORT is taken by another MLflow server: name another in MLFLOW_PORT"
    fi
    (
        cd -- "$folder"
        export MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://mlflow@$HOST:$POSTGRES_PORT/mlflow"
        # No job runner: the processes that it starts serve nobody here.
        export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
        # A session of its own: it outlives this terminal, and is stopped with all that it has started.
        setsid "$python" -m mlflow server --workers 1 --host "$HOST" --port "$MLFLOW_PORT" --serve-artifacts \
            --artifacts-destination "$folder/artifacts" </dev/null >>mlflow.log 2>&1 &
        echo $! >mlflow.pid
    )
    until mlflow_answers; do
        kill -0 "$(<"$folder/mlflow.pid")" 2>/dev/null || fail "MLflow does not start: see $folder/mlflow.log"
        ((SECONDS < until)) || fail "MLflow does not answer within $START_SECONDS s: see $folder/mlflow.log"
        sleep 1
    done
}

stop_mlflow() {
    local pid until=$((SECONDS + STOP_SECONDS))
    pid=$(<"$folder/mlflow.pid")
    kill -TERM -- "-$pid"
    while kill -0 -- "-$pid" 2>/dev/null && ((SECONDS < until)); do
        sleep 0.2
    done
    # What is left of its session; nothing, as a rule.
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -- "$folder/mlflow.pid"
}

write_addresses() {
    {
        printf 'export REPARAM_BENCH_STORAGE=%q\n' "postgresql+psycopg2://optuna@$HOST:$POSTGRES_PORT/optuna"
        printf 'export REPARAM_BENCH_TRACKING_URI=%q\n' "http://$HOST:$MLFLOW_PORT"
        printf 'export PGPASSFILE=%q\n' "$folder/pgpass"
    } >"$folder/addresses"
}

start() {
    export PGPASSFILE=$folder/pgpass
    [[ -d $folder/postgres ]] || make_databases
    postgres_runs "$folder/postgres" || start_postgres "$folder/postgres"
    mlflow_runs || start_mlflow
    write_addresses
    cat -- "$folder/addresses"
    echo "# to have these: source $folder/addresses"
}

status() {
    local code=0
    if postgres_runs "$folder/postgres"; then echo "PostgreSQL runs"; else echo "PostgreSQL does not run" && code=3; fi
    if mlflow_runs; then echo "MLflow runs"; else echo "MLflow does not run" && code=3; fi
    return "$code"
}

stop() {
    if mlflow_runs; then stop_mlflow; fi
    if postgres_runs "$folder/postgres"; then stop_postgres "$folder/postgres"; fi
}

[[ $# == 2 && $1 =~ ^(start|status|stop)$ ]] || fail "usage: $0 start|status|stop FOLDER" 2
((EUID != 0)) || fail "PostgreSQL refuses to run as root: run this as another user, who owns FOLDER" 2
[[ $1 != start ]] || mkdir -p -- "$2"
folder=$(cd -- "$2" && pwd) || fail "there is no folder $2" 2
programs=$(find_programs)
if [[ $1 == start ]]; then
    python=$(find_python)
fi
"$1"
