import pytest

from bench.redaction import redact


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
