"""Tables on narrow terminals: no value is broken, and nothing runs over the edge."""

from __future__ import annotations

from functools import cache

import pytest

from bench.checks.conformance import CheckResult, Outcome
from bench.checks.doctor import Finding, Status
from bench.core.metrics import METRICS
from bench.core.results import Measurement
from bench.data.dataset import DatasetInfo
from bench.evaluation.metrics import Evaluation
from reports.analysis.comparison import compare as compare_studies
from reports.analysis.results import Study
from reports.pages.comparison import changes
from studies.cli import check, compare, doctor
from studies.cli.plan import print_evaluation
from studies.cli.terminal import open_console
from tests.reports.conftest import whole

LEVELS = {
    "convolutional_with_attention_and_dropout": [2.31, 2.33, 2.30],
    "glow_with_a_learned_top_prior": [1.97, 1.99, 1.96],
    "shallow": [2.0, 2.1, 2.05],
    "a dense one": [2.5, 2.51, 2.52],
}
FAMILIES = dict(zip(LEVELS, ("vae", "glow", "glow", "vae"), strict=True))

INFO = DatasetInfo("digits", (8, 8, 1), 17, {}, 0, "")


@pytest.fixture
def printed(monkeypatch, capsys):
    """What a function prints on a terminal of so many columns, by line."""

    def lines(columns, function, *arguments):
        monkeypatch.setenv("COLUMNS", str(columns))
        function(*arguments)
        return capsys.readouterr().out.replace("\u00a0", " ").splitlines()

    return lines


@cache
def compared(arms):
    """Two studies of as many arms, and their table: the tests only print them."""
    names = list(LEVELS)[:arms]

    def study(by):
        levels = {name: [value + by for value in LEVELS[name]] for name in names}
        return Study(whole(levels, measured=True, families={name: FAMILIES[name] for name in names}).results())

    found = compare_studies(study(0.0), study(-0.1))
    return names, found, changes(found).rows


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
@pytest.mark.parametrize("arms", [2, 3, 4])
def test_a_comparison_breaks_no_number(printed, columns, arms):
    names, found, rows = compared(arms)
    lines = printed(columns, compare._print, found)
    tables = lines[len(found.headlines) + len(found.refused) :]
    assert max(map(len, tables)) <= columns
    assert [line for line in tables if line in names] == names
    text = "\n".join(tables)
    assert len(rows) >= 12 * arms
    for change, cells in zip(found.changes, rows, strict=True):
        for cell in cells[1:6]:
            assert cell.text.replace("\u00a0", " ").removesuffix(f" {change.about.unit}") in text
        assert change.about.label.split()[0] in text


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_an_evaluation_breaks_no_number(printed, columns):
    rows = [
        Measurement(
            "test", metric, -12345.678901, 0.00012345, 10_000, None, 0.00012345, "CPU, tensorflow, float32, batch 64"
        )
        for metric in METRICS
    ]
    evaluation = Evaluation(rows)
    lines = printed(columns, lambda: print_evaluation(evaluation, INFO, open_console()))
    assert max(map(len, lines)) <= columns
    assert sum(line.count("-12345.7") for line in lines) == len(METRICS)
    assert sum(line.count("0.00012") for line in lines) == 2 * len(METRICS)
    for unit in {metric.unit for metric in METRICS.values()}:
        assert any(unit in line for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_findings_and_checks_keep_their_columns(printed, columns):
    detail = "2.21.0 on cpu:0; float32, float64, float16, bfloat16, and more that is worth a second line"
    findings = [Finding("packages", "a-package-of-a-long-name", Status.GOOD, detail)]
    results = [CheckResult("convolutional_vae", "tensorflow", "sums to at most 1", Outcome.PASSED, detail)]
    for lines, start in (
        (printed(columns, doctor._print, findings), ["packages  a-package-of-a-long-name  good"]),
        (printed(columns, check._print, results), ["convolutional_vae on tensorflow", "sums to at most 1  passed"]),
    ):
        assert all(line.startswith(words) for line, words in zip(lines, start, strict=False))
        assert max(map(len, lines)) <= columns
        assert all(word in " ".join(lines).split() for word in detail.split())
