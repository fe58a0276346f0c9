"""answer.json: true to its schema in every state of a study, and to the page in every number."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from bench.core.metrics import METRICS
from bench.core.results import Measurement, ReferenceCodes, Unbegun
from reports import formatting
from reports.analysis.results import Study
from reports.analysis.rungs import rungs
from reports.exports import schema
from reports.exports.answer import answer_file, answer_json
from reports.formatting import NO_BREAK, quantity
from reports.pages.document import Comparison, Document
from reports.pages.study import page_of
from reports.text.contents import Contents
from reports.text.table import SCALED_UNITS, Table
from tests.reports.analysis.test_rungs import measured as rungs_of
from tests.reports.conftest import FALLS, FOUR, FOUR_LEVELS, RANDOM, SEPARATED, SLOW, curves_of, shifted, whole

pytestmark = pytest.mark.usefixtures("undrawn")

KEPT = resources.files("reports.exports").joinpath(schema.FILE).read_text("utf-8")
CODES = ReferenceCodes(
    measured=[
        Measurement("reference_codes", "code_png", 3.25, standard_error=0.011, n=360),
        Measurement("reference_codes", "code_xz", 2.75, n=360),
        Measurement("reference_codes", "code_webp", float("nan"), n=360),
        Measurement("reference_model", "code_pixelcnn", 1.875, standard_error=0.01, n=360),
        Measurement("reference_model", "parameters", 12_345.0),
        Measurement("reference_model", "training_seconds", 61.5),
        Measurement("reference_model", "training_images", 12_000.0),
    ],
    unavailable={"code_jpeg_xl": "imagecodecs is not installed"},
)
VALIDATOR = jsonschema.Draft202012Validator(json.loads(KEPT))


def read(results):
    """The answer of a study, valid by the schema that the repository keeps, without a number that JSON lacks."""
    return read_of(Contents(Study(results)))


def read_of(contents):
    """The same of what its report says."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = answer_json(contents)
    answer = json.loads(text, parse_constant=refuse)
    VALIDATOR.validate(answer)
    assert schema.AnswerFile.model_validate_json(text) == answer_file(contents)
    return answer


def test_the_same_study_leaves_the_same_text(measured):
    assert answer_json(Contents(Study(measured))) == answer_json(Contents(Study(measured)))


def tables_of(page: Document, *columns: str) -> list[Table]:
    """The page's tables that have such columns."""
    return [block for block in page.all_blocks() if isinstance(block, Table) and set(columns) <= set(block.columns)]


@dataclasses.dataclass(frozen=True)
class Said:
    """What a report says of a study, in its page and in its answer for programs."""

    contents: Contents
    page: Document
    answer: dict[str, Any]


@pytest.fixture(scope="module")
def said():
    """Of a study with all that is measured, with reference codes, and with some of what may be missing."""
    measured = whole(SEPARATED, measured=True).results(settings=RANDOM)
    finals = measured.runs[measured.runs["role"] == "final"].groupby("arm")["run_id"].first()
    results = dataclasses.replace(
        measured,
        reference_codes=CODES,
        unbegun=[Unbegun("search", "vae", "no memory", 2)],
        unavailable={finals["glow"]: {"round_trip_error": "timed out"}},
    )
    contents = Contents(Study(results))
    return Said(contents, page_of(contents), read_of(contents))


def test_the_kept_schema_is_that_of_the_definitions():
    assert schema.json_schema() == KEPT, "python -m reports.exports.schema writes it again"
    jsonschema.Draft202012Validator.check_schema(json.loads(KEPT))
    parts = [part for part in json.loads(KEPT)["$defs"].values() if "properties" in part]
    assert len(parts) > 15
    assert all(part["additionalProperties"] is False for part in parts)
    assert all(set(part["required"]) == set(part["properties"]) for part in parts)
    assert json.loads(KEPT)["properties"]["schema_version"]["const"] == schema.SCHEMA_VERSION


def test_every_measured_number_is_the_page_s(said):
    answer = said.answer
    (table,) = [block for block in said.page.all_blocks() if isinstance(block, Comparison)]
    rows = {(row.label, *row.notes): row for _, group in table.groups for row in group if not row.across}
    assert [arm["title"] for arm in answer["arms"]] == [arm.title for arm in table.arms]
    compared = 0
    for place, arm in enumerate(answer["arms"]):
        for each in arm["measurements"]:
            notes = [*filter(None, [each["conditions"]]), *([f"n = {each['samples']:,}"] if each["samples"] else [])]
            row = rows[(each["label"], *notes)]
            cell, bare = row.cells[place], each["unit"] not in SCALED_UNITS
            assert cell.text == quantity(each["mean"], each["standard_error"] or None, each["unit"], bare=bare)
            beside = cell.all_notes
            if each["interval_over_seeds"]:
                ends = each["interval_over_seeds"].values()
                _, low, high = formatting.difference(each["mean"], *ends)
                assert f"seeds: 95% interval {low} to {high}" in beside
            for name, words in (
                ("images_standard_error", "images: standard"),
                ("monte_carlo_error", "bound: Monte Carlo"),
            ):
                stated = [note for note in beside if note.startswith(words)]
                assert stated == ([f"{words} error {formatting.error(each[name])}"] if each[name] else [])
            assert [bound["text"] for bound in each["bounds"]] == [note for note in beside if "bound" in note[9:]][-1:]
            if each["real_images"]:
                floor = each["real_images"]
                shown = quantity(floor["mean"], floor["standard_error"], each["unit"], bare=True)
                assert f"real data: {shown}" in beside
            compared += 1
        assert arm["bits_per_dim"] in arm["measurements"]
        assert arm["nll_nats"] in arm["measurements"]
        assert arm["bits_per_dim"]["bounds"][0]["importance_samples"] == {"vae": 64, "glow": 16}[arm["family"]]
    assert compared == sum(len([c for c in row.cells if c.text != "not measured"]) for row in rows.values()) > 30


def test_differences_ranking_and_headline_are_the_page_s(said):
    contents, answer = said.contents, said.answer
    (table,) = tables_of(said.page, "Hedges' g")
    assert len(answer["differences"]) == len(table.rows) > 5
    for each, row in zip(answer["differences"], table.rows, strict=True):
        interval = each["interval"]
        value, low, high = formatting.difference(interval["value"], interval["low"], interval["high"])
        shown = [value, f"{low} to {high}", formatting.number(each["hedges_g"], 2)]
        shown += [formatting.probability(interval["p"]), formatting.probability(each["holm_p"])]
        assert [cell.text for cell in row[1:]] == shown
        better = (interval["value"] > 0) == each["higher_is_better"]
        decided = not interval["low"] <= 0 <= interval["high"]
        assert each["better"] == (each["first"] if better else each["second"]) * decided or each["better"] is None
    first, second = answer["answer"]["ranking"]
    behind = second["behind_first"]
    assert (first["arm"], second["arm"], answer["answer"]["outcome"]) == ("glow", "vae", "lowest")
    value, low, high = formatting.difference(behind["value"], behind["low"], behind["high"])
    assert f"lower by {value} (95% interval {low} to {high})" in answer["answer"]["headline"]
    assert quantity(first["bits_per_dim"], first["standard_error"]) in answer["answer"]["headline"]
    assert answer["answer"]["headline"] == contents.answer.headline
    likelihood = answer["differences"][0]["interval"]
    assert [likelihood[end] for end in ("value", "low", "high")] == [behind[end] for end in ("value", "low", "high")]


def test_every_pair_of_four_arms_is_there_as_the_page_ranks_it():
    four = whole(FOUR_LEVELS, families=FOUR).results()
    answer = read(four)
    assert [each["arm"] for each in answer["answer"]["ranking"]] == ["deep", "shallow", "conv", "dense"]
    details = " ".join(answer["answer"]["details"])
    for each in answer["answer"]["ranking"][2:]:
        behind = each["behind_first"]
        value, low, high = formatting.difference(behind["value"], behind["low"], behind["high"])
        assert f"{value} above the first (95% interval {low} to {high}" in details
    pairs = [(each["first"], each["second"]) for each in answer["differences"]]
    assert len(set(pairs)) == 6
    assert [arm["name"] for arm in answer["arms"]] == list(four.arms)


def test_practical_size_and_forecasts_are_the_page_s(said):
    answer = said.answer
    assert answer["equivalence"]["region"] == 0.01
    (table,) = tables_of(said.page, "First and second", "P(practically equal)")
    assert len(answer["equivalence"]["pairs"]) == len(table.rows) == 1
    for row, each in zip(table.rows, answer["equivalence"]["pairs"], strict=True):
        assert [cell.order for cell in row[1:4]] == [each["better"], each["equal"], each["worse"]]
        assert (each["first"], each["verdict"], each["reason"]) == ("glow", "better", None)
    outlook = " ".join(said.contents.answer.outlook).replace(NO_BREAK, " ")
    assert [each["arm"] for each in answer["forecasts"]] == ["vae", "glow"]
    for each in answer["forecasts"]:
        assert each["budget"] == 2 * each["made_at"] == 24_000
        assert each["low"] <= each["bits_per_dim"] <= each["high"] <= each["best"]
        assert f"{each['bits_per_dim']:.4f} ({each['low']:.4f} to {each['high']:.4f}) at 24 k" in outlook


def test_an_arm_without_a_forecast_says_why(finished):
    runs = finished.runs.assign(**{"param.decay": "cosine"})
    for each in read(dataclasses.replace(finished, runs=runs))["forecasts"]:
        assert each["bits_per_dim"] is each["made_at"] is None
        assert each["reason"].startswith("the learning rate ends with the budget (cosine)")


def test_budgets_are_the_page_s_rungs(empty):
    known = rungs_of(empty, curves_of(empty, {"vae": [FALLS, FALLS], "glow": [SLOW, SLOW]}))
    found = rungs(known)
    budgets = json.loads(answer_json(Contents(known)))["budgets"]
    assert [each["images"] for each in budgets] == [1000.0, 2000.0, 3000.0, 6000.0]
    for rung, each in zip(found, budgets, strict=True):
        assert (each["lowest"], each["second"]) == (rung.lowest, rung.second)
        assert each["interval"]["value"] == rung.interval.value
        assert {arm["arm"]: arm["bits_per_dim"] for arm in each["arms"]} == pytest.approx(
            {arm: level["value"].mean() for arm, level in rung.levels.items()}
        )


def test_crossings_are_those_of_the_page_s_table(empty):
    """By images, by seconds, and by both with tuning, which the VAE alone has."""
    empty.history(empty.run("vae", "search", number=0), [3.0, 2.0])
    curves = {"vae": [FALLS, shifted(FALLS)], "glow": [SLOW, shifted(SLOW)]}
    study = curves_of(empty, curves, seconds={"vae": 1.0, "glow": 2.0})
    contents = Contents(study)
    found = json.loads(answer_json(contents))["crossings"]
    (table,) = tables_of(page_of(contents), "The means cross at")
    assert len(table.rows) == len(found) == 4
    assert [(each["cost"], each["unit"], each["with_tuning"]) for each in found] == [
        ("images", "images", False),
        ("images", "images", True),
        ("seconds", "s", False),
        ("seconds", "s", True),
    ]
    for row, each in zip(table.rows, found, strict=True):
        axis, before, after, at, interval = row
        assert ("with tuning" in axis.text) == each["with_tuning"]
        assert (before.text.lower(), after.text.lower()) == (each["before"], each["after"]) == ("glow", "vae")
        assert at.order == each["at"]
        assert each["has_interval"]
        for end in ("low", "high"):
            amount = f"{each[end]:,.0f} images" if each["cost"] == "images" else quantity(each[end], None, "s")
            assert amount in interval.text


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_crossing_without_an_interval_has_no_ends(empty, seeds):
    curves = {"vae": [FALLS, shifted(FALLS, 3.0)], "glow": [SLOW, shifted(SLOW, 3.0)]}
    known = curves_of(empty, {arm: each[:seeds] for arm, each in curves.items()})
    (crossing,) = json.loads(answer_json(Contents(known)))["crossings"]
    assert (crossing["low"], crossing["high"], crossing["has_interval"]) == (None, None, seeds > 1)
    assert (crossing["at"], crossing["times"], crossing["level"]) == (3000.0, 1, 0.95)


def test_without_a_second_arm_nothing_crosses(empty):
    assert json.loads(answer_json(Contents(curves_of(empty, {"vae": [FALLS, FALLS]}))))["crossings"] == []


def test_promoted_trials_are_there_by_arm(finished):
    vae, glow = read(dataclasses.replace(finished, promoted={"glow": [2, 5]}))["arms"]
    assert (vae["promoted"], glow["promoted"]) == ([], [2, 5])


def test_counts_codes_findings_and_cost_are_the_page_s(said):
    contents, answer = said.contents, said.answer
    (counts,) = tables_of(said.page, "complete", "all")
    assert [[str(n) for n in (*each["counts"].values(), each["total"])] for each in answer["runs"]] == [
        [cell.text for cell in row[1:]] for row in counts.rows
    ]
    assert sum(each["total"] for each in answer["runs"]) == len(contents.study.ended)
    codes = answer["reference_codes"]
    assert [each["metric"] for each in codes] == ["code_pixelcnn", "code_xz", "code_png"]
    assert [(each["is_model"], each["parameters"]) for each in codes] == [(True, 12_345), (False, None), (False, None)]
    assert [(each["arm"], each["metric"]) for each in answer["unavailable"]] == [
        ("glow", "round_trip_error"),
        (None, "code_jpeg_xl"),
    ]
    assert [each["text"] for each in answer["findings"]] == [each.text for each in contents.findings]
    assert any(each["alarm"] for each in answer["findings"])
    numbers = {each.numbers_path: each.numbers for each in said.page.figures}
    for place, arm in enumerate(answer["arms"], start=1):
        tuning, frame = arm["budget"]["tuning"], numbers[f"figures/budget-{place}-{arm['name']}.csv"]
        assert np.isclose(frame["x"].astype(float), tuning["seconds"]).any()
        assert np.isclose(frame["x"].astype(float), tuning["images"]).any()
        assert arm["budget"]["final_images"] == [12_000, 12_000]
        (course,) = [each for each in contents.answer.grounds if each.startswith("The budget")]
        assert f"{arm['budget']['trials']} trials" in course


@pytest.mark.parametrize(
    ("levels", "outcome", "ranked"),
    [
        ({"vae": [2.3, 2.31, 2.32]}, "one_arm", 1),
        ({"vae": [2.3]}, "one_arm", 1),
        ({"vae": [2.3, 2.4], "glow": []}, "one_measured", 1),
        ({"vae": [], "glow": []}, "none_measured", 0),
        ({"vae": [2.0, 2.6, 2.3], "glow": [2.1, 2.5, 2.4]}, "undecided", 2),
        ({"vae": [2.31, 2.32, 2.30], "glow": [1.97, 1.98, 1.96]}, "lowest", 2),
        ({"vae": [2.31], "glow": [1.97]}, "lowest", 2),
        ({"vae": [np.nan, np.inf], "glow": [1.97, np.nan]}, "one_measured", 1),
    ],
)
def test_every_state_of_a_study(study, levels, outcome, ranked):
    answer = read(study(levels).results(swept={arm: ["learning_rate"] for arm in levels}))
    assert answer["answer"]["outcome"] == outcome
    assert len(answer["answer"]["ranking"]) == ranked
    assert [arm["name"] for arm in answer["arms"]] == list(levels)
    for arm in answer["arms"]:
        assert (arm["bits_per_dim"] is not None) == bool(levels[arm["name"]])
        assert len(arm["final_runs"]) == len(levels[arm["name"]])
    if outcome == "one_measured" and np.isnan(levels["glow"] or [0.0])[-1]:
        vae, glow = answer["arms"]
        assert (vae["bits_per_dim"]["mean"], vae["bits_per_dim"]["excluded"]) == (None, 2)
        assert (glow["bits_per_dim"]["mean"], glow["bits_per_dim"]["excluded"]) == (1.97, 1)
        assert [run["bits_per_dim"] for run in vae["final_runs"]] == [None, None]


def test_arms_without_errors_or_in_other_units_are_not_said_to_differ(study):
    builder = study({"vae": [2.31], "glow": [1.97]})
    for row in builder.measurements:
        row["standard_error"] = np.nan
    assert read(builder.results())["answer"]["outcome"] == "no_interval"
    for row in builder.measurements:
        row["unit"] = "nats/dim" if row["arm"] == "vae" and row["metric"] == "bits_per_dim" else row["unit"]
    answer = read(builder.results())
    assert (answer["answer"]["outcome"], answer["answer"]["ranking"]) == ("not_ranked", [])


@pytest.mark.parametrize("frame", [None, pd.DataFrame()])
def test_no_run_and_nothing_known(empty, frame):
    known = {} if frame is None else {"runs": frame, "measurements": frame, "histories": frame}
    assert read(empty.results(**known))["runs"] == []
    answer = read(empty.results(swept={}, dataset={}, settings={}, provenance={}, question="", name="x", **known))
    assert answer["arms"] == []
    assert answer["study"]["data"]["name"] is None


def test_foreign_values_neither_break_it_nor_leave_the_machine(study):
    hostile = '"}, \x00\u202e</script> NaN user:secret@host'
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]})
    for row in builder.runs:
        row["param.a b"], row["param.file"] = hostile, "/home/me/My Data/weights.keras"
        row["param.rate"] = np.inf
    results = builder.results(
        name=hostile,
        question="Is /home/me/runs/store.db better than C:\\Users\\me\\x?",
        dataset={
            "name": hostile,
            "source": "the folder '/home/me/my pictures'",
            "image_shape": (8, 8, 1),
            "sizes": 3,
        },
        settings={
            hostile: [hostile, "\ud800", np.nan, {"path": "/home/me/x"}],
            "uri": "http://me:secret@host/path?token=secret",
        },
        provenance={"device": np.inf, "versions": {"keras": hostile}, "dirty": "unknown", "cores": 2.5},
        reference_codes=ReferenceCodes(unavailable={hostile: "cannot open file:///home/me/codes"}),
    )
    contents = Contents(Study(results))
    answer, text = read_of(contents), answer_json(contents)
    for forbidden in ("secret", "/home", "Users", "\u202e", "\x00"):
        assert forbidden not in text
    assert answer["study"]["question"] == "Is …/store.db better than …/x?"
    assert answer["study"]["data"]["source"] == "the folder '…/my pictures'"
    assert answer["arms"][0]["configuration"]["file"] == "…/weights.keras"
    assert "rate" not in answer["arms"][0]["configuration"]
    assert answer["study"]["code"]["dirty"] is None


def test_a_user_s_metric_is_there_with_its_unit_and_direction(study, monkeypatch):
    builder = study({"vae": [2.3, 2.4, 2.35], "glow": [2.0, 2.1, 2.05]})
    for run in [run for run in builder.runs if run["role"] == "final"]:
        value = 7.0 + 0.1 * int(str(run["seed"])) + (run["arm"] == "vae")
        builder.measure(run, "my_group", "unheard_of", value, unit="px", higher_is_better=False)
    assert "unheard_of" not in METRICS
    answer = read(builder.results())
    (found,) = [each for each in answer["arms"][0]["measurements"] if each["group"] == "my_group"]
    assert (found["metric"], found["unit"], found["higher_is_better"]) == ("unheard_of", "px", False)
    (difference,) = [each for each in answer["differences"] if each["group"] == "my_group"]
    assert difference["better"] == "glow"


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_numbers_that_overflow_are_null(study):
    builder = study({"vae": [2.3, 2.4]})
    for row in builder.measurements:
        row["value"] = 1.7e308 if row["split"] == "quality" else row["value"]
    for row in builder.runs:
        row["seconds"] = np.inf
    (vae,) = read(builder.results(swept={"vae": ["latent_size"]}))["arms"]
    (kid,) = [each for each in vae["measurements"] if each["metric"] == "pixel_kid"]
    assert (kid["mean"], kid["seeds"], kid["real_images"]["mean"]) == (None, 2, None)
    assert vae["budget"]["tuning"]["seconds"] is None
