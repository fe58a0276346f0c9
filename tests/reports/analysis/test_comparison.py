"""Two studies compared: what changed stands with its interval, and what is not comparable is refused with a reason."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from reports.analysis.comparison import compare
from reports.analysis.results import Study
from reports.pages.comparison import changes, write_comparison
from reports.pages.index import write_index

BEFORE = {"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}


@pytest.fixture
def pair(study):
    """The comparison of two studies by their test bits/dim, the second with some results changed."""

    def compared(after, measured=True, **known):
        first = study(BEFORE, measured=measured).results()
        second = study(after, measured=measured).results(study_id="vae_vs_glow-digits-after")
        return compare(Study(first), Study(dataclasses.replace(second, **known)))

    return compared


def test_an_arm_that_got_better_is_separated_from_one_within_noise(pair):
    found = pair({"vae": [2.11, 2.13, 2.10], "glow": [1.98, 1.97, 1.97]})
    vae, glow = found.headlines
    assert vae.startswith("VAE got better: test bits/dim changed by −0.200 (95% interval −0.2")
    assert glow.startswith("Glow: the change in test bits/dim of")
    assert "within noise" in glow
    likelihood = [change for change in found.changes if change.metric == "bits_per_dim"]
    assert [change.verdict for change in likelihood] == ["better", "within noise"]
    assert all(change.interval.paired for change in likelihood)
    assert all(change.adjusted >= change.interval.p for change in found.changes)
    assert found.refused == []


def test_how_probably_a_change_matters_is_said(pair):
    found = pair({"vae": [2.11, 2.13, 2.10], "glow": [1.98, 1.97, 1.97]})
    vae, _ = found.headlines
    assert vae.endswith(
        "P(better by more than 0.01) > 0.999, P(practically equal) < 0.001 and P(worse by more) < 0.001."
    )
    judged = [change for change in found.changes if change.in_practice is not None]
    assert [change.metric for change in judged] == ["bits_per_dim"] * 2
    assert judged[0].in_practice.better > 0.999
    wide = pair({"vae": [2.11, 2.13, 2.10], "glow": [1.98, 1.97, 1.97]}, equivalence=0.1).headlines[1]
    assert "P(better by more than 0.1) < 0.001" in wide or "P(better by more than 0.1) = 0.00" in wide
    assert "P(practically equal) = 0.9" in wide or "P(practically equal) > 0.999" in wide


def test_with_one_seed_no_probability_of_a_change_is_said(study):
    before, after = (Study(study({"vae": [level]}, measured=True).results()) for level in (2.3, 2.2))
    (headline,) = compare(before, after).headlines
    assert headline.endswith("with seeds not repeated).")


def test_the_same_study_twice_has_changed_in_nothing(pair):
    found = pair(BEFORE)
    assert {change.verdict for change in found.changes} == {"within noise"}
    assert all(change.interval.value == pytest.approx(0) for change in found.changes)


def test_more_of_a_speed_is_better_and_more_of_a_time_worse(study):
    def results(factor):
        builder = study(BEFORE, measured=True)
        for row in builder.measurements:
            if row["metric"] in ("train_images_per_second", "training_seconds"):
                row["value"] = factor * float(row["value"])
        return Study(builder.results())

    verdicts = {change.metric: change.verdict for change in compare(results(1.0), results(2.0)).changes}
    assert verdicts["train_images_per_second"] == "better"
    assert verdicts["training_seconds"] == "worse"


def test_other_data_is_not_compared_at_all(pair, finished):
    found = pair(BEFORE, dataset={**finished.dataset, "digest": "sha256:" + "00" * 32})
    assert found.changes == []
    assert found.headlines == []
    assert "of different data" in found.refused[0]


def test_speeds_of_another_machine_are_refused_and_likelihoods_are_not(pair, finished):
    found = pair(BEFORE, provenance={**finished.provenance, "device": "GPU"})
    assert {change.metric for change in found.changes} >= {"bits_per_dim", "frechet_distance"}
    assert not any("second" in change.metric for change in found.changes)
    (reason,) = found.refused
    assert "device CPU, 2 cores and GPU" in reason


def test_another_bound_or_number_of_images_is_refused(pair, study):
    loose = study(BEFORE, measured=True)
    for row in loose.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["importance_samples"] = 2
        if row["family"] == "glow" and row["metric"] == "bits_per_dim":
            row["n"] = 10
    found = compare(Study(study(BEFORE, measured=True).results()), Study(loose.results()))
    assert not any(change.metric == "bits_per_dim" for change in found.changes)
    vae, glow = found.refused
    assert "different bounds, importance-weighted bound, k=64 and importance-weighted bound, k=2" in vae
    assert "average 360 and 10 images" in glow


def test_an_arm_of_one_study_and_one_without_final_runs_are_named(pair):
    found = pair({"vae": []}, arms={"vae": "vae"}, swept={"vae": ["latent_size"]})
    assert any("Glow is in vae\\_vs\\_glow" in reason or "Glow is in vae_vs_glow" in reason for reason in found.refused)
    assert any("VAE is not compared on test: it has no final run" in reason for reason in found.refused)
    assert found.changes == []


def test_the_page_holds_every_change(pair, tmp_path):
    found = pair({"vae": [2.11, 2.13, 2.10], "glow": [1.98, 1.97, 1.97]})
    text = write_comparison(found, tmp_path).read_text("utf-8")
    frame = pd.read_csv(tmp_path / "changes.csv")
    assert len(frame) == len(found.changes) == len(changes(found).rows)
    assert "VAE got better" in text
    assert "within noise" in text
    assert "commit 6704154c0ffee" in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_several_studies_are_listed_and_foreign_text_shows_as_text(tmp_path):
    page = write_index({"a-b": "Glow has <b>less</b>.", "c<d": "VAE \u202e."}, tmp_path).read_text("utf-8")
    assert page.index('href="a-b/report.html"') < page.index('href="c%3Cd/report.html"')
    assert "Glow has &lt;b&gt;less&lt;/b&gt;." in page
    assert "\u202e" not in page


def test_arms_of_one_family_are_compared_each_with_itself(study, four):
    levels = {"dense": [2.21, 2.23, 2.20], "conv": [2.11, 2.13, 2.10], "other": [1.97, 1.99, 1.96]}
    families = {"dense": "vae", "conv": "vae", "other": "glow"}
    found = compare(Study(four), Study(study(levels, measured=True, families=families).results(study_id="after")))
    assert [change.arm for change in found.changes if change.metric == "bits_per_dim"] == ["dense", "conv"]
    assert found.headlines[0].startswith("dense got better: test bits/dim changed by")
    assert found.headlines[1].startswith("conv: the change in test bits/dim of")
    assert [reason.split(" is in ")[0] for reason in found.refused] == ["shallow", "deep", "other"]


def test_metrics_of_users_are_compared(study):
    def results(value):
        builder = study(BEFORE)
        for run in [run for run in builder.runs if run["role"] == "final"]:
            level = value + 0.01 * int(str(run["seed"]))
            builder.measure(run, "my_group", "unheard_of", level, unit="px", higher_is_better=False)
        return Study(builder.results())

    changes = [change for change in compare(results(1.0), results(2.0)).changes if change.metric == "unheard_of"]
    assert [(change.arm, change.verdict) for change in changes] == [("VAE", "worse"), ("Glow", "worse")]
