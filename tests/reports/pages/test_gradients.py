"""The gradient report: verdicts computed from the frames, sentences that follow them, pages that escape."""

import dataclasses
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from bench.core.gradient_results import HISTORY_COLUMNS, RUN_COLUMNS, VAE_COLUMNS, GradientResults
from bench.workflows.gradients.closed_forms import measure
from reports.analysis.gradients import verdicts
from reports.pages import gradients
from reports.text.gradients import answer, outcomes

ARMS = [
    ("pathwise", 1),
    ("score_function", 1),
    ("score_function_baseline", 1),
    ("sticking_the_landing", 1),
    ("pathwise", 8),
    ("doubly_reparameterised", 8),
]
SAYS_NOTHING = "these numbers say nothing about the models"
HOSTILE = "<script>alert(1)</script>|`**x**`\u202e"


def test_a_smoke_run_says_first_that_its_numbers_are_no_result(results):
    headline, details = answer(results)
    smoke = dataclasses.replace(results, settings={**results.settings, "smoke": True})
    assert answer(smoke) == (f"Smoke run: every step at the smallest size; {SAYS_NOTHING}. {headline}", details)


@pytest.fixture(scope="module")
def results():
    """Real closed forms of few draws; a VAE and its training made up."""
    vae = [
        (latents, 1, estimator, latents * 10.0**i, 0.1, 5.0 / (i + 1), 0.1)
        for latents in (2, 8)
        for i, (estimator, k) in enumerate(ARMS)
        if k == 1
    ]
    vae += [
        (8, k, estimator, 10.0 / k, 0.3, k**slope, 0.05)
        for k in (2, 4, 8)
        for estimator, slope in (("pathwise", -0.5), ("doubly_reparameterised", 0.5))
    ]
    runs = [(*arm, 8, seed, "complete", "", 2 + 0.1 * i, 0.01, 10.0) for i, arm in enumerate(ARMS) for seed in (0, 1)]
    runs.append(("pathwise", 1, 2, 0, "diverged", HOSTILE, None, None, None))
    histories = [
        (*arm, 8, seed, 1000 * n, 2 + 0.1 * i + 1 / n)
        for i, arm in enumerate(ARMS)
        for seed in (0, 1)
        for n in range(1, 6)
    ]
    return GradientResults(
        study_id="gradient_estimators-digits-0",
        question="Why?",
        dataset={"name": HOSTILE},
        settings={"seeds": 2},
        provenance={"commit": "abc", "command": "python studies/cli/gradient_estimators.py"},
        closed_forms=measure(1024, seed=0),
        encoder_gradients=pd.DataFrame(vae, columns=VAE_COLUMNS),
        runs=pd.DataFrame(runs, columns=RUN_COLUMNS),
        histories=pd.DataFrame(histories, columns=HISTORY_COLUMNS),
    )


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    """The report of these results, written once: its figures take a second."""
    return gradients.write_report(results, tmp_path_factory.mktemp("report"))


def with_outcomes(results, **changes):
    """The results with columns of the outcomes replaced."""
    known = results.closed_forms
    return dataclasses.replace(
        results, closed_forms=dataclasses.replace(known, outcomes=known.outcomes.assign(**changes))
    )


def test_a_verdict_is_the_difference_against_errors_that_all_hold_at_once():
    rows = [
        ("a", 0.0, 1.0, 2.8, 0.0),
        ("b", 0.0, 1.0, 3.0, 0.0),
        ("c", 1e-30, 0.0, 0.0, 1e-28),
        ("d", 1.0, 0.0, 0.0, 0),
    ]
    columns = ["outcome", "measured", "standard_error", "closed_form", "tolerance"]
    judged = verdicts(pd.DataFrame(rows, columns=columns))
    # Two random comparisons: each at 99.5%, Student's t with 63 degrees of freedom.
    np.testing.assert_allclose(judged["allowed"][:2], 2.9099, atol=1e-3)
    assert judged["within"].tolist() == [True, False, True, False]


def test_the_four_outcomes_stand_in_the_page_with_value_error_closed_form_and_verdict(results):
    table = outcomes(verdicts(results.closed_forms.outcomes))
    rows = {row[0].text: row for row in table.rows}
    assert len(rows) == len(results.closed_forms.outcomes)
    crossing = next(row for name, row in rows.items() if "cos kx" in name)
    assert "±" in crossing[1].text
    assert crossing[2].text == "0.8512"
    assert crossing[3].text == "yes"
    assert next(row for name, row in rows.items() if "IWAE" in name)[2].text == "−½"
    assert answer(results)[1][0] == f"All {len(rows)} comparisons with a closed form agree within their errors."


def test_a_comparison_that_fails_is_said_first(results):
    compared = results.closed_forms.outcomes
    wrong = with_outcomes(results, closed_form=compared["closed_form"].mask(compared["outcome"] == "cosine", 2.0))
    table = outcomes(verdicts(wrong.closed_forms.outcomes))
    assert [row[3].text for row in table.rows].count("NO") == 1
    said = answer(wrong)[1][0]
    assert said.startswith(f"1 comparison of {len(compared)} with a closed form does not agree")


def test_sentences_follow_the_numbers(results):
    headline, details = answer(results)
    assert "in this VAE 10.0 times." in headline
    text = " ".join(details)
    assert "2.000 by pathwise (2.000 to 2.000 over seeds)" in text
    assert "1,000 with 2 latents and 1,000 with 8 latents: below 1" in text
    assert "IWAE from 0.71 to 0.35 and doubly reparameterised from 1.41 to 2.83" in text
    vae = results.encoder_gradients
    less = vae["variance"].mask((vae["estimator"] == "score_function") & (vae["latent_size"] == 2), 0.4)
    calmer = dataclasses.replace(results, encoder_gradients=vae.assign(variance=less))
    assert "in this VAE 0.20 to 10.0 times." in answer(calmer)[0]


def test_the_pages_escape_what_they_show_and_load_nothing(written):
    page, twin = written.read_text("utf-8"), (written.parent / "report.md").read_text("utf-8")
    assert page.count("<script>") == 1  # the page's own
    assert "alert(1)</script>" not in page
    assert "<script" not in twin
    for text in (page, twin):
        assert "\u202e" not in text
        assert "&lt;script&gt;" in text
    assert "src=" not in page
    assert 'href="http' not in page
    assert "diverged" in page


def test_figures_and_frames_lie_beside_the_page(results, written):
    twin = (written.parent / "report.md").read_text("utf-8")
    figures = sorted(written.parent.glob("figures/*.svg"))
    assert len(figures) == 11
    for figure in figures:
        assert ET.parse(figure).getroot().tag.endswith("svg")  # noqa: S314 - the report's own figures
        assert f"figures/{figure.name}" in twin
    compared = pd.read_csv(written.parent / "closed_form_outcomes.csv")
    assert compared["within"].all()
    assert len(pd.read_csv(written.parent / "histories.csv")) == len(results.histories)


def test_the_same_results_give_the_same_bytes(results, written, tmp_path):
    assert gradients.write_report(results, tmp_path).read_bytes() == written.read_bytes()


def test_without_a_trained_vae_the_closed_forms_are_still_there(results, tmp_path):
    nothing = {name: getattr(results, name).iloc[:0] for name in ("encoder_gradients", "runs", "histories")}
    bare = dataclasses.replace(results, **nothing)
    page = gradients.write_report(bare, tmp_path).read_text("utf-8")
    assert "comparisons with a closed form" in page
    assert "No learning curve has been logged" in page


def test_the_report_imports_no_framework():
    script = (
        "import sys, reports.pages.gradients, bench.workflows.gradients.closed_forms; "
        "print({'keras', 'tensorflow', 'jax', 'mlflow', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
