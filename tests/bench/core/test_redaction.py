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
        ("https://host/p?token=hunter2&x=1", "https://host/p?token=***&x=1"),
        ("https://host/p?x=1&API_KEY=hunter2", "https://host/p?x=1&API_KEY=***"),
        ("https://host/p?x=1;password=hunter2", "https://host/p?x=1;password=***"),
        ("https://host/p?X-Amz-Signature=hunter2", "https://host/p?X-Amz-Signature=***"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me&password=***"),
    ],
)
def test_credentials_are_replaced_and_all_else_stays(text, expected):
    assert redact(text) == expected
    assert "hunter2" not in expected


@pytest.mark.parametrize(
    "harmless",
    [
        "sqlite:////home/me/runs/optuna.db",
        "sqlite:///with@sign/x.db",
        "http://127.0.0.1:5000/#/experiments/1",
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
