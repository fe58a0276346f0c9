"""What figures show holds every trial, and drawings survive whatever values there are."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from bench.core.results import RunState
from reports.analysis import curves
from reports.analysis.results import Study
from reports.figures import matplotlib as static
from reports.figures import svg
from reports.figures.diagnostics import bound_curves, latent_profiles
from reports.figures.learning import learning_curves
from reports.figures.styles import HUES, INK, arm_styles
from reports.figures.trials import response, responses


def trial(builder, number, value, state="complete", **known):
    run = builder.run("vae", "search", state, number=number, **known)
    if state == "complete":
        builder.measure(run, "validation", "bits_per_dim", value)
    elif value is not None:
        builder.history(run, [value])
    return run


def drawn(results, arm, parameter):
    """The response curve of a parameter as raw SVG."""
    known = Study(results)
    data = curves.response(known, arm, parameter)
    return static.draw(response(known, data), arm_styles(known.families))


def test_every_trial_is_drawn(finished):
    for arm, parameters in finished.swept.items():
        for parameter in parameters:
            data = curves.response(Study(finished), arm, parameter)
            assert data is not None
            runs = finished.runs[(finished.runs["arm"] == arm) & (finished.runs["role"] == "search")]
            assert len(data.points) == len(runs)
            assert data.points["selected"].sum() == 1
            assert data.points.loc[~data.points["strip"], "value"].notna().all()
            for state in (RunState.DIVERGED, RunState.FAILED, RunState.OUT_OF_MEMORY):
                of_state = data.points[data.points["mark"] == state]
                assert len(of_state) == (runs["state"] == state).sum() > 0
                assert of_state["strip"].all()
            assert list(data.points.loc[data.points["mark"] == curves.OFF_SCALE, "strip"]) == [True]
            assert data.limits is not None
            assert data.limits[1] < 3


def test_pruned_trials_stand_at_their_last_value(empty):
    for number in range(3):
        trial(empty, number, 2.0 + 0.1 * number, param_latent_size=number + 1)
    run = empty.run("vae", "search", "pruned", number=4, param_latent_size=9)
    empty.history(run, [3.0, 2.15, float("nan")])
    data = curves.response(Study(empty.results()), "vae", "latent_size")
    assert data is not None
    assert list(data.points.loc[data.points["mark"] == "pruned", "value"]) == [2.15]


@pytest.mark.parametrize(
    ("values", "log"),
    [([1, 30], False), ([1, 31], True), ([-1, 100], False), ([0, 100], False), ([1e-4, 1e-2], True)],
)
def test_axis_is_logarithmic_where_values_span_more_than_thirty(empty, values, log):
    for number, value in enumerate(values):
        trial(empty, number, 2.0 + number, param_latent_size=value)
    data = curves.response(Study(empty.results()), "vae", "latent_size")
    assert data is not None
    assert data.log is log


@pytest.mark.parametrize(
    "values", [["tanh", "relu", "$x^"], [True, False, True], ["1", "2", "3"], [np.inf, 1, 2], [3, 3, 3]]
)
def test_any_kind_of_parameter_can_be_drawn(empty, values):
    for number, value in enumerate(values):
        trial(empty, number, 2.0 + number, param_latent_size=value)
    data = curves.response(Study(empty.results()), "vae", "latent_size")
    assert data is not None
    assert np.isfinite(data.points["x"]).all()
    ET.fromstring(drawn(empty.results(), "vae", "latent_size"))  # noqa: S314 - our own drawing


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_figures_survive_values_that_are_not_finite(empty, value):
    for number, state in enumerate(RunState):
        trial(empty, number, value, state, param_latent_size=4)
    data = curves.response(Study(empty.results()), "vae", "latent_size")
    assert data is not None
    assert data.limits is None
    assert data.points["strip"].all()
    assert len(data.points) == len(RunState)
    assert "no trial has a finite value" in drawn(empty.results(), "vae", "latent_size")
    assert curves.learning_curves(Study(empty.results())) == []


def test_trials_without_the_parameter_are_counted(empty):
    trial(empty, 0, 2.0, param_latent_size=4)
    trial(empty, 1, 2.0)
    data = curves.response(Study(empty.results()), "vae", "latent_size")
    assert data is not None
    assert (len(data.points), data.without) == (1, 1)
    assert curves.response(Study(empty.results()), "vae", "flow_depth") is None


def test_learning_curves_separate_searched_from_final(finished):
    found = {data.arm: data for data in curves.learning_curves(Study(finished))}
    assert {len(data.final) for data in found.values()} == {3}
    assert len({data.limits for data in found.values()}) == 1
    drawn = [curve for data in found.values() for curve in (*data.searched, *data.final)]
    assert all(np.isfinite([curve.images, curve.seconds, curve.value]).all() for curve in drawn)
    rows = finished.histories[finished.histories["run_id"] == drawn[0].run_id]
    assert [list(drawn[0].images), list(drawn[0].value)] == [list(rows["images"]), list(rows["value"])]
    glow = found["glow"].band
    assert list(glow["images"]) == [1000.0 * step for step in range(1, 13)]
    last = glow.iloc[-1][["mean", "low", "high"]] - 1.4 / 12
    assert list(last) == pytest.approx([1.97333, 1.96, 1.99], abs=1e-5)


def test_bound_curves_are_means_over_the_seeds_that_have_each_k(study):
    builder = study({"vae": [2.30, 2.34], "glow": [2.0]}, measured=True)
    results = builder.results()
    frame = results.tables["bound_by_samples"]
    incomplete = frame[~((frame["run_id"] == "run0036") & (frame["importance_samples"] == 4))]
    known = Study(builder.results(tables={"bound_by_samples": incomplete}))
    vae, glow = curves.bound_curves(known)
    assert (vae.arm, vae.seeds, glow.arm, glow.seeds) == ("vae", 2, "glow", 1)
    assert list(vae.points["importance_samples"]) == [1, 2, 8, 16, 32, 64]
    assert vae.points["value"].iloc[-1] == pytest.approx(2.32)
    assert vae.points["error"].iloc[-1] == pytest.approx(0.0005)
    assert curves.bound_curves(Study(builder.results(tables={}))) == []
    for figure in bound_curves(known):
        ET.fromstring(static.draw(figure, arm_styles(known.families)))  # noqa: S314 - our own drawing


def test_latents_of_the_first_seed_in_descending_order(measured):
    (profile,) = curves.latent_profiles(Study(measured))
    assert (profile.arm, profile.seed, len(profile.points)) == ("vae", "0", 32)
    assert profile.points["kl_nats"].is_monotonic_decreasing
    assert profile.points["active"].sum() == 12
    (figure,) = latent_profiles(Study(measured))
    ET.fromstring(static.draw(figure, HUES))  # noqa: S314 - our own drawing


def test_many_trials_become_one_picture(empty):
    rng = np.random.default_rng(0)
    for number in range(static.MANY + 100):
        run = trial(empty, number, float(rng.normal(2, 0.1)), param_latent_size=float(rng.uniform()))
        empty.history(run, [3.0, 2.0])
    known = Study(empty.results())
    for figure in (*responses(known), *learning_curves(known)):
        assert len(static.draw(figure, arm_styles(known.families))) < 200_000


def test_inline_figures_share_no_id_and_follow_the_theme(finished):
    raw = drawn(finished, "vae", "latent_size")
    palette = svg.themed(arm_styles({"vae": "vae"}))
    texts = [svg.inline(raw, "a <b> & c", prefix, palette) for prefix in ("a-", "b-")]
    first, second = (ET.fromstring(text) for text in texts)  # noqa: S314 - our own drawing
    ids = [{element.get("id") for element in root.iter()} - {None} for root in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = {element.get("href", "")[1:] for element in first.iter() if element.get("href")}
    assert used <= ids[0]
    text = ET.tostring(first, encoding="unicode")
    assert "currentColor" in text
    assert "var(--vae)" in text
    assert INK not in text
    assert first.get("role") == "img"
    assert first.find(f"{svg.SVG}title").text == "a <b> & c"
