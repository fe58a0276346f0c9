import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import SettingsError
from bench.core.redaction import check_address, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:hunter2@host/db", "postgresql://***@host/db"),
        ("mysql+pymysql://user:hunter2@host:3306/db", "mysql+pymysql://***@host:3306/db"),
        ("https://hunter2@host/path", "https://***@host/path"),
        ("redis://:hunter2@host", "redis://***@host"),
        ("s3+x.y-z://user:hunter2@host", "s3+x.y-z://***@host"),
        ("HTTPS://User:hunter2@Host", "HTTPS://***@Host"),
        ("postgresql://user:p@hunter2@host/db", "postgresql://***@host/db"),
        ("postgresql://user:p/hunter2@host/db", "postgresql://***@host/db"),
        ("postgresql://user:p%40hunter2@host/db", "postgresql://***@host/db"),
        ("postgresql://user:p?hunter2#@host/db", "postgresql://***@host/db"),
        ("from http://a:hunter2@one to http://b:hunter2@two", "from http://***@one to http://***@two"),
        ('{"uri": "http://a:hunter2@one", "n": 1}', '{"uri": "http://***@one", "n": 1}'),
        ("--storage='mysql://a:hunter2@one' --seed 1", "--storage='mysql://***@one' --seed 1"),
        ("https://host/p?token=hunter2&mode=ro", "https://host/p?token=***&mode=ro"),
        ("https://host/p?mode=ro&API_KEY=hunter2", "https://host/p?mode=ro&API_KEY=***"),
        ("https://host/p?mode=ro;password=hunter2", "https://host/p?mode=ro;password=***"),
        ("mssql://host/db?pwd=hunter2#x", "mssql://host/db?pwd=***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dme%3BPWD%3Dhunter2", "mssql+pyodbc:///?odbc_connect=***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER={X Y};PWD=hunter2;Encrypt", None),
        ("https://host/p?any_name_at_all=hunter2", "https://host/p?any_name_at_all=***"),
        ("https://host/p?pass%77ord=hunter2", "https://host/p?pass%77ord=***"),
        ("abfss://c@host/p?sv=2022&sig=hunter2%3D", None),
        ("wasbs://host/p?access_key=hunter2&passphrase=hunter2&auth=hunter2", None),
        ("the driver said: DRIVER=X;UID=me;PWD=hunter2;", "the driver said: DRIVER=X;UID=me;PWD=***;"),
        ("the driver said: X%3BPWD%3Dhunter2%3BY", "the driver said: X%3BPWD%3D***%3BY"),
        ("https://host/p?X-Amz-Signature=hunter2", "https://host/p?X-Amz-Signature=***"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me&password=***"),
    ],
)
def test_credentials_are_replaced_and_all_else_stays(text, expected):
    found = redact(text)
    assert "hunter2" not in found
    assert expected in (None, found)


@pytest.mark.parametrize(
    "harmless",
    [
        "sqlite:////home/me/runs/optuna.db",
        "sqlite:///with@sign/x.db",
        "http://127.0.0.1:5000/#/experiments/1",
        "http://127.0.0.1:5000/#/experiments/1/runs/ab?workflowType=machine_learning",
        "postgresql://host/db?sslmode=require&connect_timeout=5",
        "https://host/a@b",
        "me@example.org wrote: see https://host",
        "reparam-bench study vae_vs_glow --trials 8",
        "loss became nan at step 41",
        "",
    ],
)
def test_text_without_credentials_is_left_as_it_is(harmless):
    assert redact(harmless) == harmless


def test_redacting_twice_changes_nothing_more():
    once = redact("postgresql://user:hunter2@host/db?password=hunter2")
    assert redact(once) == once


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "https://runs.example.org/mlflow/",
        "postgresql+psycopg2://me:hunter2@host:5432/db?sslmode=require",
        "postgresql://me:%40%2F%23%20hunter2@host/db",
        "http://me:hunter2@[::1]:5000/",
        "sqlite:////home/me/it's my @folder/x.db",
        "runs/search.journal",
        "databricks",
    ],
)
def test_an_address_is_taken_as_it_is(address):
    check_address("storage", address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "\n",
        "http://me:hunter2",
        "http://me:hunter2/x@host",
        "http://me:hunter2?x@host",
        "http://me:hunter2#x@host",
        "http://me:hunter 2@host",
        "http://me:hunter2'@host",
        'http://me:hunter2"@host',
        "http://me:hunter2\x1b@host",
        "http://me:hunter2\udcff@host",
        "http://[me:hunter2@host",
        "http://host:hunter2/",
    ],
)
def test_an_address_whose_password_cannot_be_separated_from_all_else_is_refused_without_it(address):
    with pytest.raises(SettingsError, match=r"^storage=.*(is empty|is not an address)") as refused:
        check_address("storage", address)
    assert "hunter" not in str(refused.value)


@given(
    st.sampled_from(["http://{}:{}@host:1/x", "postgresql+psycopg2://{}:{}@host/x?y=1", "mysql://{}:{}@1.2.3.4"]),
    st.text("ab/%:#@'\" ?&[]\\é", max_size=4),
    st.text("cd/%:#@'\" ?&[]\\é", max_size=4),
)
def test_no_password_gets_past_both(address, user, rest):
    """Whatever is in an address that is taken, what is shown of it in any company is not its password."""
    whole = address.format(user, f"hunter{rest}2")
    try:
        check_address("storage", whole)
    except SettingsError as error:
        shown = str(error)
    else:
        shown = redact(f"{{'it': '{whole}', \"is\": \"{whole}\"}} ({whole}): it's {whole}")
    assert "hunter" not in shown
