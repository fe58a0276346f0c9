"""Alarms sound where they should, and only there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bench.core.warmups import long_warmups
from reports.analysis.findings import findings
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text.answer import answer

pytestmark = pytest.mark.usefixtures("undrawn")

LEVELS = {"vae": [2.31, 2.33, 2.30], "glow": [1.97, 1.99, 1.96]}


def texts(results, *, alarm):
    return [f.text.replace(NO_BREAK, " ") for f in findings(Study(results)) if f.alarm == alarm]


def changed(study, metric, values, **known):
    """The study with a metric's value replaced in every final run that has it, one value a seed."""
    builder = study(LEVELS, measured=True)
    for row in builder.measurements:
        if row["metric"] == metric:
            row |= {"value": values[int(str(row["seed"]))], **known}
    return builder.results()


@pytest.mark.parametrize(
    ("metric", "silent", "loud", "words"),
    [
        (
            "collapsed_share",
            [0.4] * 3,
            [0.5] * 3,
            "Posterior collapse: 12 of 32 latents of VAE are active, 50% are not",
        ),
        ("round_trip_error", [0.5] * 3, [0.1, 0.1, 0.6], "Glow loses images"),
        ("condition_number", [1e4] * 3, [10, 2e4, 10], "Ill conditioned"),
        ("effective_sample_size", [2.0] * 3, [1.9] * 3, "rests on single weights"),
        ("data_copying", [0.5, 0.6, 0.7], [0.6, 0.61, 0.62], "Data copying: samples of VAE"),
        ("auroc", [0.3, 0.5, 0.7], [0.2, 0.21, 0.22], "VAE finds mnist 8x8 likelier than its own held-out data"),
    ],
)
def test_alarm_thresholds(study, metric, silent, loud, words):
    assert not any(words in text for text in texts(changed(study, metric, silent), alarm=True))
    results = changed(study, metric, loud)
    assert any(words in text for text in texts(results, alarm=True))
    assert any(words in detail.replace(NO_BREAK, " ") for detail in answer(Study(results)).details)


UNIFORM = "and giving each of the 17 grey levels the same probability takes 4.09: it knows less of these images than"


def worse_than_uniform(builder):
    return [text for text in texts(builder.results(), alarm=True) if text.startswith("Worse than the uniform code")]


def test_a_final_run_that_is_worse_than_the_uniform_code(study):
    assert worse_than_uniform(study({"vae": [4.05, 4.08, 4.087], "glow": [1.97]})) == []
    (text,) = worse_than_uniform(study({"vae": [2.31, 4.2, 5.125], "glow": [1.97]}))
    assert f"code: 2 of 3 final runs of VAE took up to 5.12 bits/dim on test, {UNIFORM}" in text
    # Trained to the end of its curve, at the rate that was selected.
    assert "Its learning rate of 0.00471 may be too high: sweep " in text
    assert '{"learning_rate": Reals(0.00016, 0.00470781, log=True)}.' in text
    (text,) = worse_than_uniform(study({"vae": [4.2], "glow": [1.97]}))
    assert "code: 1 of 1 final run of VAE took 4.20 bits/dim on test" in text
    builder = study({"vae": [4.2], "glow": [1.97]})
    results = builder.results()
    del results.dataset["grey_levels"]
    assert not any("uniform code" in text for text in texts(results, alarm=True))


def test_a_selected_trial_that_is_worse_than_the_uniform_code(empty):
    run = empty.run("vae", "search", number=0, param_latent_size=8, param_learning_rate=0.3, param_clip_norm=0.0)
    empty.measure(run, "validation", "bits_per_dim", 4.5)
    (text,) = worse_than_uniform(empty)
    assert f"code: the selected trial of VAE took 4.50 bits/dim on validation, {UNIFORM}" in text
    assert "too few images: train it for longer (--epochs). Its learning rate of 0.3 may be too high" in text
    assert text.endswith("Reals(0.01, 0.3, log=True)} and clip_norm=1.0 in its training.")


@pytest.mark.parametrize(("deleted", "words"), [(1, "1 run of this study, deleted in MLflow, is"), (2, "2 runs of")])
def test_runs_that_somebody_deleted_are_counted(study, deleted, words):
    results = study(LEVELS, measured=True).results()
    assert not any("deleted in MLflow" in text for text in texts(results, alarm=True))
    results.settings["deleted_runs"] = deleted
    assert texts(results, alarm=True)[0].startswith(words)


@pytest.mark.parametrize(("foreign", "words"), [(1, "1 run below this study's in MLflow is not"), (2, "2 runs below")])
def test_runs_that_are_not_the_study_s_own_are_counted(study, foreign, words):
    results = study(LEVELS, measured=True).results()
    results.settings["foreign_runs"] = foreign
    assert texts(results, alarm=True)[0].startswith(words)


def test_runs_that_were_rescued_from_divergence_are_counted(study):
    builder = study(LEVELS, measured=True)
    finals = [run for run in builder.runs if run["role"] == "final"]
    for arm, rescues in (("vae", [0, 0, 0]), ("glow", [2, 0, 1])):
        for run, times in zip([run for run in finals if run["arm"] == arm], rescues, strict=True):
            builder.measure(run, "cost", "rescues", times)
    found = [text for text in texts(builder.results(), alarm=True) if text.startswith("Rescued")]
    assert [text.partition(". ")[0] for text in found] == [
        "Rescued from divergence: 2 of 3 final runs of Glow (3 rescues)"
    ]


def warming_up(builder, **settings):
    """The alarms of too long a warm-up, where all final runs of the VAE were trained by batches of 64 images."""
    for run in builder.runs:
        if run["role"] == "final" and run["arm"] == "vae":
            run |= {"param.batch_size": 64} | {f"param.{name}": value for name, value in settings.items()}
    return [text for text in texts(builder.results(), alarm=True) if text.startswith("Warm-up too long")]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"kl_warmup_steps": 500},
            "KL of VAE rises over kl_warmup_steps=500, and 3 of 3 final runs took 188 steps: the "
            "weight of the KL reached at most 38% of its full value.",
        ),
        (
            {"kl_warmup_steps": 150},
            "kl_warmup_steps=150, and 3 of 3 final runs took 188 steps: only 20% of the training came after",
        ),
        (
            {"warmup_steps": 400},
            "the learning rate of VAE rises over warmup_steps=400, and 3 of 3 final runs took 188 steps: the ",
        ),
    ],
)
def test_a_warm_up_of_more_than_half_of_the_training(study, settings, words):
    (text,) = warming_up(study(LEVELS, measured=True), **settings)
    assert words in text
    assert text.endswith(f"give it a larger budget (--epochs or --time), or {next(iter(settings))}=62 or less.")


def test_a_warm_up_of_runs_that_patience_ended(study):
    """They saw 12,000 images; that of the whole budget had been short."""
    (text,) = warming_up(study(LEVELS, measured=True), kl_warmup_steps=150, images=640_000, evaluations=640)
    assert text.endswith("give it more patience, or kl_warmup_steps=62 or less.")


@pytest.mark.parametrize("number", [150, 150.0, np.int64(150), np.float64(150)])
def test_a_warm_up_in_any_kind_of_number_and_of_no_run_that_does_not_say(number):
    assert long_warmups({"kl_warmup_steps": number, "warmup_steps": np.nan}, 200) == {"kl_warmup_steps": 150}
    assert long_warmups({"kl_warmup_steps": number}, 300) == {}


def test_a_warm_up_that_leaves_most_of_the_training_or_of_a_smoke_run_is_no_alarm(study):
    assert warming_up(study(LEVELS, measured=True), kl_warmup_steps=90, warmup_steps=90) == []
    assert warming_up(study(LEVELS, measured=True)) == []
    builder = study(LEVELS, measured=True)
    assert len(warming_up(builder, kl_warmup_steps=95)) == 1
    results = builder.results()
    results.settings["smoke"] = True
    assert not any(text.startswith("Warm-up") for text in texts(results, alarm=True))


def test_no_active_unit_is_collapse_even_where_the_share_is_not_known(study):
    builder = study(LEVELS, measured=True)
    builder.measurements = [row for row in builder.measurements if row["metric"] != "collapsed_share"]
    for row in builder.measurements:
        if row["metric"] == "active_units":
            row["value"] = 0
    assert any("Posterior collapse: 0 of 32 latents" in text for text in texts(builder.results(), alarm=True))


@pytest.mark.parametrize(
    ("last", "error", "other", "words", "alarm"),
    [
        (2.2995, 0.00001, [2.0], "it has flattened", False),
        (2.28, 0.05, [2.0], "do not show whether it has flattened", False),
        (2.28, 0.0001, [2.0], "it has not flattened", True),
        (2.297, 0.0001, [2.0], "small beside the gap of 0.300 between the arms (1.0% of it)", False),
        (2.297, 0.0001, [2.26], "it has not flattened", True),
        (2.297, 0.0001, [], "it has not flattened", True),
    ],
)
def test_what_the_last_doubling_changed(study, last, error, other, words, alarm):
    builder = study({"vae": [2.3], "glow": other}, measured=True)
    tables = builder.results().tables
    frame = tables["bound_by_samples"]
    run = frame["run_id"].iloc[0]
    mine = frame[frame["run_id"] == run].tail(2).copy()
    mine["bits_per_dim"], mine["monte_carlo_error"] = [2.3, last], error
    said = texts(builder.results(tables={"bound_by_samples": mine}), alarm=alarm)
    assert any(text.startswith("VAE: from k = 32 to 64 the bound fell by") and words in text for text in said)


def test_worst_convolution_is_named(study):
    said = texts(study(LEVELS, measured=True).results(), alarm=False)
    assert any("the condition number 33, at level 2, step 1 counted from 0" in text for text in map(str.lower, said))


def test_interval_of_an_auroc_stays_within_0_and_1(study):
    said = texts(changed(study, "auroc", [0.97, 0.98, 1.0]), alarm=False)
    assert any("AUROC 0.983 (95% interval 0.945 to 1.000, 3 seeds)" in text for text in said)


def test_nothing_to_say_of_old_results(finished):
    assert findings(Study(finished)) == []


def test_values_that_are_not_finite_raise_nothing(study):
    for metric in ("collapsed_share", "round_trip_error", "condition_number", "data_copying", "auroc"):
        findings(Study(changed(study, metric, [np.nan, np.inf, np.nan])))


@pytest.mark.parametrize(
    ("values", "lost"), [([0.1, np.nan, 0.2], 1), ([np.inf] * 3, 3), ([sys.float_info.max, 0.1, 0.1], 1)]
)
def test_an_inverse_that_gives_no_number_loses_images(study, values, lost):
    """A database of MLflow keeps infinity as the largest number."""
    found = texts(changed(study, "round_trip_error", values), alarm=True)
    (text,) = [text for text in found if text.startswith("Glow loses images")]
    assert f"gives no number for a held-out image in {lost} of 3 final runs" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.02, 0.03, 0.025], "a perfect sampler has 0.5: so far below it, the samples lie far from all data."),
        ([0.4, 0.41, 0.42], "a perfect sampler has 0.5: below it, samples are further from the data than real images"),
        ([0.48, 0.5, 0.52], "a perfect sampler has 0.5."),
    ],
)
def test_samples_far_from_the_data_are_not_called_fine(study, values, words):
    said = texts(changed(study, "data_copying", values), alarm=False)
    assert any(text.startswith("Samples of VAE are nearer") and words in text for text in said)


def copied(study, values, errors, floor, floor_error=0.002, conditions="runs of 20"):
    """The study with such shares of copied runs of its VAE's three seeds, in the place of another score."""
    builder = study(LEVELS, measured=True)
    rows = [row for row in builder.measurements if row["metric"] == "data_copying" and row["arm"] == "vae"]
    for row, value in zip(rows, values, strict=True):
        common = {**row, "n": 500, "conditions": conditions}
        builder.measurements.append({**common, "metric": "copied_share", "value": value, "standard_error": errors})
        builder.measurements.append(
            {**common, "metric": "copied_share_floor", "value": floor, "standard_error": floor_error}
        )
    return builder.results()


@pytest.mark.parametrize(
    ("values", "floor", "floor_error", "alarm"),
    [
        ([0.2, 0.21, 0.22], 0.02, 0.002, True),
        # Clearly more, and too little to matter.
        ([0.0280, 0.0281, 0.0282], 0.02, 0.0001, False),
        # The floor's own error is that of one set of windows, however many seeds there are.
        ([0.045, 0.0451, 0.0452], 0.02, 0.01, False),
        # Seeds differ by more than they lie above the floor.
        ([0.02, 0.05, 0.09], 0.03, 0.002, False),
        ([0.01, 0.01, 0.01], 0.02, 0.002, False),
    ],
)
def test_copies_of_a_text_are_an_alarm_where_held_out_text_has_fewer(study, values, floor, floor_error, alarm):
    results = copied(study, values, 0.001, floor, floor_error)
    said = [text for text in texts(results, alarm=alarm) if "runs of symbols in samples of VAE" in text]
    assert len(said) == 1
    assert said[0].startswith("Copied text: ") == alarm
    assert f"in held-out windows {floor:.3f} (runs of 20)" in said[0]


def test_mass_outside_the_data(study):
    def said(value, *, alarm):
        builder = study(LEVELS, measured=True)
        for row in [row for row in builder.measurements if row["metric"] == "round_trip_error"]:
            builder.measurements.append({**row, "metric": "outside_share", "value": value})
        return texts(builder.results(), alarm=alarm)

    start = "Mass outside the data: 7.00% of the pixel values that Glow samples lie outside"
    assert any(text.startswith(start) for text in said(0.07, alarm=True))
    assert not any(text.startswith("Mass outside") for text in said(0.009, alarm=True))
    assert any(text.startswith("0.900% of the pixel values that Glow samples") for text in said(0.009, alarm=False))


def edges(study, space):
    builder = study(LEVELS, measured=True)
    return [text for text in texts(builder.results(space=space), alarm=True) if text.startswith("On the edge")]


def whole(low, high):
    return {"kind": "integers", "low": low, "high": high, "log": True}


def real(low, high, *, log=True):
    return {"kind": "reals", "low": low, "high": high, "log": log}


def test_a_selected_value_on_the_edge_of_its_range(study):
    # Selected: latent_size = 16 and learning_rate = 0.00471 of the VAE, flow_depth = 8 and 0.00207 of Glow.
    (vae, glow) = edges(
        study,
        {
            "vae": {"latent_size": whole(2, 16), "learning_rate": real(0.0047, 1e-2)},
            "glow": {"flow_depth": whole(8, 16), "learning_rate": real(1e-4, 1e-2)},
        },
    )
    assert vae == (
        "On the edge of their ranges: VAE's selected latent size 16 lies at the top of 2 to 16 and learning rate "
        "0.00471 lies near the bottom of 0.0047 to 0.01. A lower bits/dim may lie beyond: sweep latent size further "
        "upwards and learning rate further downwards."
    )
    assert "Glow's selected flow depth 8 lies at the bottom of 8 to 16." in glow
    results = study(LEVELS, measured=True).results(space={"vae": {"latent_size": whole(2, 16)}})
    assert (
        "VAE with latent size 16 (at the top of its range) and learning rate 0.00471" in answer(Study(results)).headline
    )


def test_numbers_to_choose_from_have_ends(study):
    (text,) = edges(study, {"vae": {"latent_size": {"kind": "choices", "values": [16, 4, 8]}}, "glow": {}})
    assert "VAE's selected latent size 16 lies at the top of 4, 8 and 16. A lower bits/dim may lie beyond" in text


@pytest.mark.parametrize(
    "swept",
    [
        whole(2, 64),
        whole(16, 16),
        {"kind": "choices", "values": [2, 16, 64]},
        {"kind": "choices", "values": ["2", "16"]},
        {"kind": "choices", "values": [16]},
        real(10.0, 100.0),
    ],
)
def test_no_edge_where_there_is_none(study, swept):
    assert edges(study, {"vae": {"latent_size": swept, "not_logged": whole(1, 2)}, "glow": {}}) == []
    assert edges(study, {}) == []


@pytest.mark.parametrize(
    ("swept", "value", "edge"),
    [
        (whole(1, 8), 1, False),
        (whole(0, 8), 0, False),
        (whole(2, 8), 2, True),
        (whole(4, 512), 512, True),
        (whole(4, 512), 511, False),
        ({"kind": "integers", "low": 1, "high": 200, "log": False}, 197, False),
        ({"kind": "integers", "low": 2, "high": 200, "log": False}, 3, False),
        ({"kind": "choices", "values": [64, 16, 32]}, 64, True),
        ({"kind": "choices", "values": [64, 16, 32]}, 16, True),
        ({"kind": "choices", "values": [64, 16, 32]}, 32, False),
        ({"kind": "choices", "values": [1, 2, 4]}, 1, False),
        ({"kind": "choices", "values": [0.0, 0.1, 0.2]}, 0.0, False),
        ({"kind": "choices", "values": [False, True]}, True, False),
        ({"kind": "choices", "values": ["dense", "convolutional"]}, "dense", False),
        ({"kind": "choices", "values": [1, "auto"]}, 1, False),
        (real(0.0, 0.5, log=False), 0.0, False),
        (real(0.0, 0.5, log=False), 0.495, True),
        (real(1e-4, 1e-2), 1.05e-4, True),
        (real(1e-4, 1e-2), 1.2e-4, False),
        (whole(2, 8), "8", False),
    ],
)
def test_edges_that_cannot_be_moved_are_none(empty, swept, value, edge):
    run = empty.run("vae", "search", number=0, param_latent_size=value)
    empty.measure(run, "validation", "bits_per_dim", 2.0)
    results = empty.results(space={"vae": {"latent_size": swept}})
    assert any(text.startswith("On the edge") for text in texts(results, alarm=True)) == edge


@pytest.mark.parametrize(
    ("setting", "edge"),
    [
        ("rescues", False),
        ("training.rescues", False),
        ("patience", False),
        ("clip_norm", False),
        ("model.patience", True),
        ("warmup_steps", True),
    ],
)
def test_no_advice_to_sweep_further_what_only_guards_the_training(empty, setting, edge):
    run = empty.run("vae", "search", number=0, **{f"param_{setting}": 3})
    empty.measure(run, "validation", "bits_per_dim", 2.0)
    results = empty.results(swept={"vae": [setting]}, space={"vae": {setting: whole(0, 3)}})
    said = answer(Study(results))
    assert any("On the edge" in text for text in said.alarms) == edge
    assert any(text.startswith("On the edge") for text in texts(results, alarm=True)) == edge


@pytest.mark.parametrize(
    ("values", "outlier"),
    [
        ([2.310, 2.311, 2.312, 2.350], True),
        ([2.310, 2.311, 2.350], True),
        ([2.310, 2.311, 2.3155], False),
        ([2.310, 2.330, 2.350], False),
        ([2.310, 2.350], False),
    ],
)
def test_an_outlying_seed(study, values, outlier):
    said = texts(study({"vae": values, "glow": [2.0, 2.01]}).results(), alarm=True)
    words = f"Outlying seed: one of {len(values)} final runs of VAE reached 2.35 on test"
    assert any(text.startswith(words) for text in said) == outlier


def test_an_outlier_that_is_small_beside_the_gap_is_none(study):
    said = texts(study({"vae": [2.310, 2.311, 2.350], "glow": [1.0, 1.01]}).results(), alarm=True)
    assert said == []


def rising(study, curve, *, kept):
    builder = study({"vae": [2.3, 2.31, 2.32], "glow": [2.0, 2.01]})
    finals = [row for row in builder.runs if row["family"] == "vae" and row["role"] == "final"]
    builder.histories = [row for row in builder.histories if row["run_id"] not in {run["run_id"] for run in finals}]
    for run in finals:
        builder.history(run, curve)
        if kept:
            builder.measure(run, "cost", "best_images", 1000.0)
    return [text for text in texts(builder.results(), alarm=True) if text.startswith("Validation rising")]


LATE_AND_LITTLE = [2.6, 2.4, 2.3, 2.25, 2.22, 2.2, 2.19, 2.195, 2.2, 2.2, 2.2, 2.2]


def test_validation_that_rises_early_or_much(study):
    early = [2.4, *np.linspace(2.2, 2.215, 19)]
    (text,) = rising(study, early, kept=True)
    assert "VAE overfitted in 3 of 3 final runs; it was best after 10% of its training and ended 0.0133" in text
    assert "The best weights are the ones measured" in text
    assert rising(study, [2.4, 2.3, 2.25, 2.2, *np.linspace(2.3, 4.8, 16)], kept=True)
    assert rising(study, LATE_AND_LITTLE, kept=True) == []


def test_validation_that_rises_before_weights_that_are_measured(study):
    (text,) = rising(study, LATE_AND_LITTLE, kept=False)
    assert "The last weights are the ones measured, so the value is worse than the arm's best." in text
