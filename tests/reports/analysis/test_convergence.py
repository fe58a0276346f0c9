"""The course of training: curves whose state is known, smooth and noisy, and what the answer says of them."""

from __future__ import annotations

import numpy as np
import pytest

from reports.analysis.convergence import State, course, courses, in_words
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text import run_tables
from reports.text.answer import answer


def flat(t):
    return 2 + 0.8 * np.exp(-16 * t)


def falling(t):
    return 2 + 0.15 / (t + 0.1)


def rising(t):
    return flat(t) + 0.3 * np.maximum(t - 0.4, 0)


CURVES = {State.CONVERGED: flat, State.IMPROVING: falling, State.OVERFITTED: rising}


def classified(shape, n, noise=0.0, seed=0):
    t = np.arange(1, n + 1) / n
    values = shape(t) + noise * np.random.default_rng(seed).normal(size=n)
    return course(1000.0 * np.arange(1, n + 1), values)


@pytest.mark.parametrize("n", [10, 20, 40, 100])
@pytest.mark.parametrize(("state", "shape"), CURVES.items())
def test_smooth_curves(state, shape, n):
    assert classified(shape, n).state == state


@pytest.mark.parametrize("noise", [0.0003, 0.003])
@pytest.mark.parametrize("n", [20, 40, 100])
@pytest.mark.parametrize(("state", "shape"), CURVES.items())
def test_noise_within_a_curve_hardly_changes_its_state(state, shape, n, noise):
    found = [classified(shape, n, noise, seed).state for seed in range(100)]
    assert found.count(state) >= 90


@pytest.mark.parametrize("values", [[3.0, 2.0, 1.5, 1.3], list(falling(np.arange(1, 5) / 4))])
def test_a_bent_curve_of_four_evaluations_is_still_improving(values):
    assert course(np.arange(1.0, 5), np.array(values)).state == State.IMPROVING


def test_strong_noise_on_a_plateau_is_neither_a_fall_nor_a_rise():
    found = [classified(flat, 40, 0.02, seed).state for seed in range(200)]
    assert found.count(State.CONVERGED) >= 180
    assert found.count(State.IMPROVING) <= 6


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_evaluations_say_nothing(n):
    assert classified(falling, n).state == State.UNKNOWN


def test_a_change_below_the_tolerance_is_none():
    images = np.arange(1.0, 13)
    assert course(images, 2.0 - 1e-4 * images).state == State.CONVERGED
    assert course(images, 2.0 + 1e-4 * images).state == State.CONVERGED


def test_patience_that_ran_out_is_no_improvement():
    # Best at 34 of 40 evaluations, within the last quarter, then as good to within the tolerance.
    values = np.concatenate([np.linspace(3, 2, 34), np.full(6, 2.0005)])
    assert course(np.arange(1.0, 41), values).state == State.CONVERGED


def test_figures_of_a_course():
    values = np.array([3.0, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6])
    found = course(1000.0 * np.arange(1, 9), values)
    assert (found.best, found.best_images, found.images, found.best_share) == (2.0, 2000, 8000, 0.25)
    assert (found.fall, found.rise) == (0.0, pytest.approx(0.55))


def with_curves(study, curves, *, kept=True):
    """A study whose final runs have these validation curves, one a seed."""
    builder = study({family: [2.3 - 0.3 * (family == "glow")] * len(each) for family, each in curves.items()})
    for row in builder.measurements:
        if (row["split"], row["metric"], row["seed"]) == ("test", "bits_per_dim", 1):
            row["value"] = float(str(row["value"])) + 0.01
    builder.histories = []
    for run in builder.runs:
        if run["role"] == "final":
            values = curves[str(run["family"])][int(str(run["seed"]))]
            builder.history(run, list(values))
            if kept:
                builder.measure(run, "cost", "best_images", 1000.0 * (1 + int(np.argmin(values))))
    return builder


T = np.arange(1, 21) / 20


def test_verdict_without_a_family_still_improving_is_final(study):
    results = with_curves(study, {"vae": [rising(T)] * 2, "glow": [flat(T)] * 2}).results()
    found = answer(Study(results))
    headline, details = found.headline.replace(NO_BREAK, " "), "\n".join(found.details)
    assert "for VAE, lower by 0.300" in headline
    assert "learning rate 0.00207; converged." in details
    assert "measured at its best evaluation, before it began to overfit." in details
    for text in (headline, details):
        assert "so far" not in text.replace("best evaluation so far", "")
        assert "could still fall" not in text
        assert "still improving" not in text


def test_verdict_on_a_family_still_improving_is_one_so_far(study):
    results = with_curves(study, {"vae": [falling(T)] * 2, "glow": [flat(T)] * 2}).results()
    found = answer(Study(results))
    assert "on digits at this budget, so far: " in found.headline
    assert found.headline.endswith("VAE was still improving at the end.")
    fall = falling(0.75) - falling(1)
    assert f"still improving when it stopped: the best on validation fell by {fall:.3g} over" in "\n".join(
        found.details
    )


def test_a_clear_leader_that_still_improves_only_widens_its_lead(study):
    found = answer(Study(with_curves(study, {"vae": [flat(T)] * 2, "glow": [falling(T)] * 2}).results()))
    assert "Glow has the lower test bits/dim on digits at this budget: " in found.headline
    assert not found.so_far


def test_seeds_that_differ_are_counted(study):
    known = Study(with_curves(study, {"vae": [flat(T), falling(T)]}).results(swept={"vae": []}))
    assert in_words(known, "vae") == "converged in 1 of 2 seeds and still improving when it stopped in 1 of 2 seeds"


@pytest.mark.parametrize(("falls", "words", "so_far"), [(1, "1 of 3", False), (2, "2 of 3", True), (3, "", True)])
def test_the_headline_counts_the_seeds_still_improving(study, falls, words, so_far):
    curves = [falling(T)] * falls + [flat(T)] * (3 - falls)
    for arms in ({"vae": curves}, {"vae": curves, "glow": [flat(T)] * 3}):
        known = Study(with_curves(study, arms).results(swept={arm: [] for arm in arms}))
        found = answer(known)
        seeds = f"VAE (in {words} seeds)" if words else "VAE"
        assert f"{seeds} was still improving at the end." in found.headline
        assert ("so far" in found.headline) == so_far
        fell = f"the best on validation{' of those still improving' if words else ''} fell by"
        assert any(fell in text for text in found.first)


def test_last_weights_that_are_measured_are_not_called_the_best(study):
    known = Study(with_curves(study, {"vae": [rising(T)] * 2}, kept=False).results(swept={"vae": []}))
    assert in_words(known, "vae") == "measured overfitted"


def test_short_curves_leave_the_headline_without_a_state(study):
    results = with_curves(study, {"vae": [flat(T)[:3]] * 2}).results(swept={"vae": []})
    assert answer(Study(results)).headline.startswith("VAE reaches 2.305")


def test_table_of_the_course_of_training(study):
    builder = with_curves(study, {"vae": [rising(T), flat(T)], "glow": [flat(T)] * 2})
    first = next(run for run in builder.runs if run["role"] == "final")
    builder.measure(first, "cost", "clipped_share", 0.25)
    builder.measure(first, "cost", "rescues", 2)
    builder.measure(first, "validation", "selection_optimism", 0.0021, monte_carlo_error=0.0011)
    table = run_tables.training_course(Study(builder.results()))
    assert table.columns[-3:] == ["Clipped steps", "Rescues", "Owed to lucky noise"]
    assert [[cell.text for cell in row[:3]] for row in table.rows] == [
        ["VAE", "0", "overfitted"],
        ["VAE", "1", "converged"],
        ["Glow", "0", "converged"],
        ["Glow", "1", "converged"],
    ]
    assert [cell.text.replace(NO_BREAK, " ") for cell in table.rows[0][-3:]] == ["0.250", "2.00", "0.0021 ± 0.0011"]
    assert (table.rows[0][4].text, table.rows[0][4].notes) == ("8,000", ["40% of training"])
    assert [cell.text for cell in table.rows[1][-2:]] == ["–", "–"]
    assert table.runs[0] == first["run_id"]


def test_no_run_has_no_course(empty):
    known = Study(empty.results())
    assert run_tables.training_course(known).rows == []
    assert courses(known, "vae") == {}
