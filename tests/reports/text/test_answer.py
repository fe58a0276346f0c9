"""The answer is true of the data, whatever state the study is in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.pages.study import page
from reports.pages.templates import page_as_html, page_as_markdown
from reports.text.answer import Outcome, answer

pytestmark = pytest.mark.usefixtures("undrawn")


def said(results):
    found = answer(Study(results))
    return " ".join([found.headline, *found.details]).replace(NO_BREAK, " ")


def test_clear_winner(finished):
    text = said(finished)
    assert text.startswith(
        "Glow has the lower test bits/dim on digits at this budget, so far: 1.9733 ± 0.0088 against 2.3133 ± 0.0088 "
        "for VAE, lower by 0.340 (95% interval 0.305 to 0.375). Selected: Glow with flow depth 8 and learning rate "
        "0.00207; VAE with latent size 16 and learning rate 0.00471. Glow and VAE were still improving at the end."
    )
    assert (
        "Glow: flow depth 8, learning rate 0.00207; still improving when it stopped: the best on validation fell by "
        "0.0389 over the last quarter of the evaluations."
    ) in text
    assert "Welch's t interval over training seeds (3 seeds of VAE and 3 of Glow)" in text
    assert "upper bounds on the true bits/dim" in text
    assert "importance-weighted bound, k=64 for VAE" in text
    assert "importance-weighted dequantisation bound, k=16, uniform dequantisation for Glow" in text
    assert "k differs" in text
    assert "5.0× the training time of VAE (41.3 s against 8.30 s)" in text
    assert "3.0× the parameters" in text
    assert "12,000 training images" in text


def test_paired_over_images_where_both_arms_left_each_image(measured):
    text = said(measured)
    assert "lower by 0.340 (95% interval 0.306 to 0.374)" in text
    assert "covers both another draw of training seeds (3 seeds of VAE and 3 of Glow) and of test images" in text
    assert "k=64" in text
    assert "float32, batch 1)" in text


def test_single_seeds_paired_over_images(study):
    text = said(study({"vae": [2.3], "glow": [2.0]}, measured=True).results())
    assert "the interval covers the choice of test images alone, paired image by image" in text
    assert "with seeds not repeated)" in text


def test_speeds_under_different_conditions_are_not_set_against_each_other(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]}, measured=True)
    for row in builder.measurements:
        if row["split"] == "throughput" and row["family"] == "vae":
            row["conditions"] = "GPU"
    text = said(builder.results())
    assert "the training time of" in text
    assert "the speed of" not in text


def test_cannot_tell(study):
    text = said(study({"vae": [2.0, 2.2, 2.1], "glow": [2.05, 2.15, 1.95]}).results())
    assert text.startswith("The data do not decide which arm has the lower test bits/dim on digits")
    assert "which contains 0" in text
    assert "lower by" not in text


def test_single_seed_says_that_seeds_were_not_repeated(study):
    text = said(study({"vae": [2.3], "glow": [2.0]}).results())
    assert "Seeds were not repeated" in text
    assert "test images alone" in text
    assert "with seeds not repeated)" in text


def test_one_arm_with_a_single_seed_names_what_the_interval_covers(study):
    text = said(study({"vae": [2.3, 2.4], "glow": [2.0]}).results())
    assert "the choice of test images and the seeds of VAE" in text


def test_identical_seeds_have_no_interval(study):
    text = said(study({"vae": [2.3, 2.3], "glow": [2.0, 2.0]}).results())
    assert "no uncertainty is known, so it is open whether they differ" in text


def test_single_arm(study):
    builder = study({"vae": [2.3, 2.32, 2.35]})
    text = said(builder.results(swept={"vae": ["latent_size", "learning_rate"]}))
    assert text.startswith(
        "VAE reaches 2.323 ± 0.015 bits/dim on test (95% interval 2.261 to 2.386), on digits at this budget, so far. "
        "Selected: VAE with latent size 16 and learning rate 0.00471. VAE was still improving at the end."
    )
    assert "The interval is Student's t over 3 training seeds" in text
    assert "Across the 12 complete trials, validation bits/dim went from" in text


def test_single_arm_single_seed(study):
    text = said(study({"vae": [2.3]}).results(swept={"vae": ["latent_size"]}))
    assert "Seeds were not repeated: ± is the standard error over test images alone." in text


def test_one_arm_not_measured_yet(study):
    builder = study({"vae": [2.3, 2.4], "glow": []})
    text = said(builder.results())
    assert text.startswith("Only VAE has been measured on test, at 2.350")
    assert "Selected: VAE with latent size 16 and learning rate 0.00471." in text


def test_no_finals(study):
    text = said(study({"vae": [], "glow": []}).results())
    assert text.startswith("No final run has been measured on test yet. The lowest validation bits/dim so far: 2.096")
    assert "no answer" in text


def test_nothing_complete(empty):
    empty.run("vae", "search", "diverged", number=0, reason="NaN")
    empty.run("glow", "search", "out_of_memory", number=0)
    text = said(empty.results())
    assert "No trial has completed with a finite likelihood yet" in text
    assert "1 diverged and 1 out of memory" in text


def test_no_runs(empty):
    assert said(empty.results()) == "No run has been logged yet, so there is no answer."


def test_final_run_without_finite_likelihood_is_left_out_and_named(study):
    text = said(study({"vae": [2.3, 2.4, float("nan")], "glow": [2.0, 2.01, float("inf")]}).results())
    assert "1 final run of VAE gave no finite test likelihood" in text
    assert "2 seeds of VAE and 2 of Glow" in text


def test_failed_final_runs_are_named(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    builder.run("glow", "final", "diverged", seed=2)
    assert "1 final run did not complete (1 diverged)." in said(builder.results())


def test_units_that_differ_are_not_ranked(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["split"] == "test":
            row["unit"] = "nats"
    assert said(builder.results()).startswith("The arms are not ranked")


@pytest.mark.parametrize("n", [100, 360])
def test_different_numbers_of_test_images_are_named(study, n):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.measurements:
        if row["family"] == "vae" and row["metric"] == "bits_per_dim":
            row["n"] = n
    assert ("different numbers of test images" in said(builder.results())) == (n == 100)


def test_three_arms_compare_the_lowest_two(study):
    builder = study({"vae": [2.3, 2.32], "glow": [2.0, 2.01]})
    for seed in (0, 1):
        builder.final("pixelcnn", seed, 2.6 + 0.01 * seed)
    text = said(builder.results())
    assert text.startswith("Glow has the lowest test bits/dim")
    assert "Behind them: 3. pixelcnn at 2.6050" in text
    assert "The best arm of each family" not in text


def test_an_arm_is_lowest_only_if_all_others_are_separated_from_it(study):
    builder = study({"vae": [2.3, 2.302], "glow": [2.0, 2.002]})
    for seed, level in enumerate((2.0, 2.9)):
        builder.final("pixelcnn", seed, level)
    found = answer(Study(builder.results()))
    text = " ".join([found.headline, *found.details]).replace(NO_BREAK, " ")
    assert found.outcome == Outcome.UNDECIDED
    assert text.startswith("The data do not decide which arm has the lowest test bits/dim on digits at this budget")
    assert "Glow reaches 2.00100 ± 0.00100 bits/dim, pixelcnn 2.45 ± 0.45 bits/dim" in text
    assert (
        "The lowest arm is compared with pixelcnn, the lowest that is not separated from it. The others: 2. VAE at"
        in (text)
    )


def test_arms_whose_final_runs_gave_no_value_are_named_with_the_reason(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for seed in (0, 1):
        builder.final("pixelcnn", seed, float("nan"))
    assert "Not compared: 2 final runs of pixelcnn gave no finite test likelihood." in said(builder.results())
    builder = study({"vae": [2.3, 2.4], "glow": []})
    for seed in (0, 1):
        builder.run("glow", "final", "diverged", seed=seed)
    assert "no final run of Glow completed (2 diverged), so there is nothing to compare it with" in said(
        builder.results()
    )
    builder = study({"vae": [], "glow": []})
    for seed in (0, 1):
        builder.final("vae", seed, float("nan"))
    assert said(builder.results()).startswith("No final run has a finite test likelihood (2 complete). The lowest")


def test_arms_of_other_budgets_are_named_as_such(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.01]})
    for row in builder.runs:
        row["param.images"] = 12_000 if row["arm"] == "vae" else 24_000
    text = said(builder.results())
    assert "on digits at different budgets" in text
    assert "The arms have no final runs of one budget" in text
    timed = builder.results()
    assert "at this budget" in said(replace(timed, settings={**timed.settings, "time": 60.0}))


def test_a_study_that_was_given_a_time_says_so(study):
    results = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]}).results()
    timed = replace(results, settings={**results.settings, "time": 1800.0})
    assert "the study was given 30 min, of which each arm had an equal share" in said(timed)
    assert "was given" not in said(results)


def test_final_runs_that_stopped_after_different_budgets(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]})
    first = next(run["run_id"] for run in builder.runs if run["role"] == "final" and run["family"] == "vae")
    builder.histories = [row for row in builder.histories if row["run_id"] != first or int(str(row["step"])) <= 7]
    assert "18 trials of VAE, whose final runs saw 7,000 to 12,000 training images each" in said(builder.results())


def test_four_arms_are_ranked_and_so_are_their_families(four):
    text = said(four)
    assert text.startswith("deep (Glow) has the lowest test bits/dim on digits")
    assert " for shallow (Glow), lower by " in text
    assert "Selected: deep with flow depth 8 and learning rate 0.00207; shallow with flow depth 8 and " in text
    assert "dense: latent size 64, learning rate " in text
    assert "Behind them: 3. conv at 2.1133 ± 0.0088 bits/dim, 0.140 above the first (95% interval 0.1" in text
    assert "; 4. dense at 2.3133" in text
    assert "The best arm of each family: Glow: deep at 1.9733 ± 0.0088 bits/dim; VAE: conv at 2.1133" in text
    assert "The best Glow lies 0.140 below the best VAE (95% interval 0.1" in text
    assert "importance-weighted bound, k=64 for conv and dense" in text
    assert "18 trials each of deep, shallow, conv and dense, whose final runs saw 12,000 training images each" in text


def test_alarms_of_the_lowest_arms_come_first(four):
    found = answer(Study(four)).alarms
    assert [text.partition(":")[0] for text in found[:2]] == ["deep", "shallow"]
    assert "latents of conv" in found[2]
    assert "latents of dense" in found[3]


def test_families_that_the_data_do_not_separate(study):
    levels = {"a": [2.0, 2.1, 2.05], "b": [2.4, 2.41, 2.42], "c": [2.04, 2.13, 2.08], "d": [2.5, 2.51, 2.52]}
    families = {"a": "vae", "b": "glow", "c": "vae", "d": "glow"}
    text = said(study(levels, families=families).results())
    assert text.startswith("The data do not decide which arm has the lowest test bits/dim")
    assert "The best VAE lies 0.360 below the best Glow" in text
    close = study({**levels, "b": [2.05, 2.13, 2.09]}, families=families).results()
    assert "which contains 0: the data do not decide between the families" in said(close)


def test_an_unknown_family_goes_by_its_own_name(study):
    text = said(study({"mine": [2.1, 2.11], "glow": [2.0, 2.01]}, families={"mine": "made"}).results())
    assert "against 2.1050 ± 0.0050 for mine (made), lower by" in text


def test_an_exact_likelihood_is_called_no_bound(study):
    builder = study({"made": [1.9, 1.91], "vae": [2.3, 2.31], "glow": [2.0, 2.01]}, families={})
    for row in builder.measurements:
        if row["arm"] == "made":
            row["bound"] = "exact" if row["bound"] else None
    text = said(builder.results())
    assert "The bits/dim of made are exact. The others are upper bounds" in text


def without_a_complete_trial(study, ends, levels):
    """A study whose VAE has trials that ended so, and the other arms final runs with these values."""
    builder = study(levels)
    for number, state in enumerate(ends):
        builder.run("vae", "search", state, number=number, reason=f"reason {number}", param_latent_size=4)
    return builder.results()


def test_an_arm_without_a_complete_trial_is_counted_with_its_reasons(study):
    text = said(without_a_complete_trial(study, ["diverged", "pruned", "diverged"], {"glow": [1.97]}))
    assert (
        "Only Glow has been measured on test, at 1.970 ± 0.012 bits/dim; no trial of VAE completed (2 diverged and 1 "
        "pruned), so there is nothing to compare it with."
    ) in text
    assert (
        "No answer: none of the 3 VAE trials completed (2 diverged, 1 pruned; the last one by: reason 2): against "
        "divergence sweep lower learning rates"
    ) in text
    text = said(without_a_complete_trial(study, ["diverged"], {"glow": [1.97], "other": [2.5]}))
    assert text.startswith("Glow")
    assert "No answer: no VAE trial completed (1 diverged; " in text


@pytest.mark.parametrize("ends", [["diverged", "running"], ["diverged", "complete"], ["interrupted"], []])
def test_an_arm_whose_trials_have_not_all_ended_is_not_measured_yet(study, ends):
    text = said(without_a_complete_trial(study, ends, {"glow": [1.97]}))
    assert "bits/dim; VAE not yet, so there is nothing to compare it with." in text
    assert "No answer" not in text


SMOKE = "Smoke run: every step at the smallest size; these numbers say nothing about the models. "


def test_a_smoke_run_says_before_all_else_that_its_numbers_are_no_result(study, empty):
    builder = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    for made in (builder, empty):
        plain = made.results()
        smoke = made.results(settings={**plain.settings, "smoke": True})
        assert answer(Study(smoke)).headline == SMOKE + answer(Study(plain)).headline
    shown = page(smoke)
    for text in (page_as_html(shown), page_as_markdown(shown)):
        assert SMOKE in text
    assert "Smoke" not in page_as_html(page(made.results(settings={"smoke": False})))
