"""What the collapse alarm says to try, and what it reports of runs that tried."""

from __future__ import annotations

import re

import pytest

from bench.data.bundled import DIGITS
from bench.study import definition
from bench.study.search_space import Choices
from models.vae.config import VAEConfig
from reports.analysis.findings import findings
from reports.analysis.results import Study
from reports.formatting import NO_BREAK

PLAIN = {"free_bits": 0.0, "kl_warmup_steps": 0, "training_samples": 1, "gradient_estimator": "pathwise"}
FAMILIES = {"plain": "vae", "other": "vae", "deep": "glow"}
LEVELS = {"plain": [2.31, 2.33, 2.30], "other": [2.21, 2.23, 2.20], "deep": [1.97, 1.99, 1.96]}


@pytest.fixture
def alarm(study):
    """The collapse alarm of the arm ``plain``, with the settings of the arms given."""

    def said(plain=None, other=None, trials=(), unknown=False):
        builder = study(LEVELS, measured=True, families=FAMILIES)
        for run in builder.runs:
            if run["arm"] != "deep" and not unknown:
                own = {"plain": plain, "other": other}[run["arm"]] or {}
                run |= {f"param.{name}": value for name, value in (PLAIN | {"hidden_sizes": [8, 8]} | own).items()}
        runs = [run for run in builder.runs if run["arm"] == "plain" and run["role"] == "search"]
        for run, value in zip([run for run in runs if run["state"] == "complete"], trials, strict=False):
            run["param.free_bits"] = value
        for row in builder.measurements:
            if row["arm"] == "other" and row["metric"] in ("active_units", "collapsed_share"):
                row["value"] = {"active_units": 30, "collapsed_share": 2 / 32}[row["metric"]]
        texts = [f.text.replace(NO_BREAK, " ") for f in findings(Study(builder.results())) if f.alarm]
        (text,) = [text for text in texts if text.startswith("Posterior collapse")]
        return text

    return said


def test_it_names_the_settings_in_a_line_to_paste(alarm):
    text = alarm()
    line = '{"free_bits": Choices((0, 0.03, 0.1, 0.3)), "kl_warmup_steps": Choices((0, 1000, 5000))}'
    assert f"that it does not use. Sweep against it: {line}." in text
    assert "On this study" not in text
    assert "among its own trials" not in text


def test_warm_ups_to_sweep_leave_most_of_the_training(alarm):
    text = alarm({"images": 60_000, "batch_size": 64})
    assert '"kl_warmup_steps": Choices((0, 94, 312))}.' in text
    assert '"kl_warmup_steps": Choices((0, 1000, 5000))}.' in alarm({"images": 640_000, "batch_size": 64})
    budget = {"images": 64_000, "batch_size": 64}
    assert '"kl_warmup_steps": Choices((100, 300))}.' in alarm(budget | {"kl_warmup_steps": 100})
    # Its own value alone is left, which is no sweep.
    assert "kl_warmup" not in alarm(budget | {"kl_warmup_steps": 400})
    assert alarm(budget | {"kl_warmup_steps": 400, "prior": "vamp"}).endswith(
        "A longer warm-up would take most of its training: train it for longer (--epochs)."
    )


@pytest.mark.parametrize("own", [{}, {"kl_warmup_steps": 100}, {"free_bits": 0.1}])
def test_a_sweep_that_is_pasted_is_accepted(alarm, own):
    line = re.search(r"\{.*?\)\)\}", alarm({"images": 64_000, "batch_size": 64} | own))[0]
    sweep = eval(line, {"Choices": Choices})  # noqa: S307 - our own text
    study = definition.Study(name="s", question="?", arms=(definition.Arm(VAEConfig(**own), sweep=sweep),))
    definition.BoundStudy(study, definition.StudySettings(), DIGITS, "d")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"free_bits": 0.1},
            'It was trained with free_bits=0.1 already; sweep on: {"free_bits": Choices((0.1, 0.3, 1)',
        ),
        ({"prior": "vamp"}, 'Sweep against it: {"kl_warmup_steps": Choices((0, 1000, 5000))}.'),
        (
            {"training_samples": 5, "gradient_estimator": "doubly_reparameterised"},
            "free_bits and kl_warmup_steps, needs training_samples=1 and gradient_estimator=pathwise",
        ),
    ],
)
def test_it_says_only_what_the_arm_s_other_settings_allow(alarm, settings, words):
    assert words in alarm(settings)


def test_an_arm_that_tried_it_is_set_beside_this_one(alarm):
    size = {"latent_size": 32, "learning_rate": 0.001}
    text = alarm(size, size | {"free_bits": 0.1})
    assert (
        "On this study, other with free_bits=0.1 has 30 active latents and 2.2133 ± 0.0088 bits/dim, plain with "
        "free_bits=0 12 active latents and 2.3133 ± 0.0088 bits/dim, alike in all other settings." in text
    )
    assert "On this study" not in alarm(size | {"free_bits": 0.1}, size)
    assert "On this study" not in alarm(size | {"prior": "vamp"}, size | {"free_bits": 0.1})
    text = alarm(size, size | {"free_bits": 0.1, "latent_size": 64, "hidden_sizes": [16]})
    assert "bits/dim; they differ in latent_size and hidden_sizes too." in text
    assert "On this study" not in alarm(size, size | {"latent_size": 64})


def test_trials_that_swept_it_are_counted_with_their_lowest_values(alarm):
    text = alarm(trials=(0.1, 0.1, 0.0, 0.3))
    value = r"([\d.]+) ± [\d.]+ bits/dim"
    found = re.search(rf"own trials: {value} \(3 trials\) with free_bits above 0, {value} \(9 trials\)", text)
    assert found
    assert 2 < float(found[1]) < 3
    assert "kl_warmup_steps above 0" not in text


def test_a_family_without_such_settings_gets_no_advice(alarm):
    assert alarm(unknown=True).endswith("The model has latents that it does not use.")
