"""The forecasts of a study's arms: which arm has one, the file that keeps them, and how they turned out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reports.analysis import arm_forecasts
from reports.analysis.arm_forecasts import COLUMNS, TIMES, forecast, made, read, recorded, score
from reports.analysis.forecast import FARTHEST, Fit, Unfit
from reports.analysis.results import Study


def test_every_arm_with_a_forecast_is_written_down(finished):
    frame = made(Study(finished))
    assert list(frame.columns) == COLUMNS
    assert list(frame["arm"].unique()) == ["vae", "glow"]
    assert set(frame["seeds"]) == {"0 1 2"}
    assert (frame["made_at"] == 12_000).all()
    glow = frame[frame["arm"] == "glow"]
    np.testing.assert_allclose(glow["budget"], 12_000 * np.array(TIMES))
    np.testing.assert_allclose(glow["value"], (1.97 + 1.99 + 1.96) / 3 + 1.4e3 / glow["budget"], rtol=1e-7)
    assert made(Study(replace(finished, histories=finished.histories.head(0)))).empty


@pytest.mark.parametrize("decay", ["cosine", "staged"])
def test_a_schedule_that_ends_with_the_budget_has_no_forecast(finished, decay):
    runs = finished.runs.assign(**{"param.decay": decay})
    found = forecast(Study(replace(finished, runs=runs)), "glow")
    assert isinstance(found, Unfit)
    assert f"ends with the budget ({decay})" in found.reason
    kept = forecast(Study(replace(finished, runs=finished.runs.assign(**{"param.decay": "plateau"}))), "glow")
    assert isinstance(kept, Fit)


def test_a_run_that_patience_ended_has_no_forecast(finished):
    last = Study(finished).finals["glow"].runs["run_id"].iloc[-1]
    short = finished.histories[(finished.histories["run_id"] != last) | (finished.histories["step"] < 12)]
    found = forecast(Study(replace(finished, histories=short)), "glow")
    assert isinstance(found, Unfit)
    assert found.reason.startswith("patience ended training")


def test_the_file_is_read_as_it_was_written(finished, tmp_path):
    frame = made(Study(finished))
    frame.to_csv(tmp_path / "forecasts.csv", index=False)
    pd.testing.assert_frame_equal(read(tmp_path / "forecasts.csv"), frame)
    assert read(tmp_path / "absent.csv").empty


ROW = "glow,0123456789ab,0 1 2,1000.0,2000.0,1.9,1.8,2.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        f"{','.join(COLUMNS)}\n{ROW.replace('1.9', 'high')}\n",
        f"{','.join(COLUMNS)}\n{ROW.replace('1.8', '1.95')}\n",
        f"{','.join(COLUMNS)}\n{ROW.replace('2000.0', '500.0')}\n",
        f"{','.join(COLUMNS)}\n{ROW.replace('2.0', 'inf')}\n",
        f"{','.join(COLUMNS)}\n{ROW.replace('1000.0', '')}\n",
        f"{','.join(COLUMNS)}\n{ROW},more,than,columns\n",
        "\x00\xff\x00",
    ],
)
def test_a_damaged_file_is_refused(text, tmp_path):
    path = tmp_path / "forecasts.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"\S"):
        read(path)


def test_a_good_row_is_none_of_the_damaged_ones(tmp_path):
    path = tmp_path / "forecasts.csv"
    path.write_text(f"{','.join(COLUMNS)}\n{ROW}\n")
    assert read(path).iloc[0].tolist() == ["glow", "0123456789ab", "0 1 2", 1000.0, 2000.0, 1.9, 1.8, 2.0]


def test_what_an_earlier_report_forecast_stands(finished):
    first = made(Study(finished))
    assert recorded(Study(finished, first)).equals(first)
    altered = first.assign(value=first["value"] + 0.1, high=first["high"] + 0.1)
    assert recorded(Study(finished, altered)).equals(altered)
    other = first.assign(made_at=6000.0)
    both = recorded(Study(finished, other))
    assert len(both) == 2 * len(first)
    assert both.head(len(other)).equals(other)


def test_the_score_says_what_was_measured_and_whether_the_interval_held_it():
    images = np.array([1000.0, 2000.0, 4000.0])
    forecasts = pd.DataFrame(
        {
            "made_at": 1000.0,
            "budget": [1000.0 * 2**1.5, 2000.0, 2000.0, 4000.0, 8000.0],
            "value": [1.5, 1.5, 1.8, 1.0, 1.0],
            "low": [1.4, 1.4, 1.7, 1.0, 1.0],
            "high": [1.6, 1.6, 1.9, 1.0, 1.0],
        }
    )
    found = score(forecasts, images, np.array([3.0, 1.6, 1.0]))
    assert list(found["measured"]) == pytest.approx([1.3, 1.6, 1.6, 1.0])
    assert list(found["held"]) == [False, True, False, True]
    assert score(forecasts.head(0), images, np.ones(3)).empty


def test_forecasts_of_other_runs_are_not_scored(finished):
    earlier = made(Study(finished)).assign(made_at=3000.0, budget=6000.0)
    assert max(TIMES) == FARTHEST == 2
    assert len(arm_forecasts.outcomes(Study(finished, earlier), "glow")) == len(TIMES)
    for column, value in (("configuration", "0123456789ab"), ("seeds", "0 1"), ("arm", "jet"), ("made_at", 12_000.0)):
        assert arm_forecasts.outcomes(Study(finished, earlier.assign(**{column: value})), "glow").empty


def test_a_longer_budget_leaves_the_configuration_the_same_and_another_rate_does_not(finished):
    def configuration(**parameters):
        runs = finished.runs.assign(**{f"param.{name}": value for name, value in parameters.items()})
        frame = made(Study(replace(finished, runs=runs)))
        return frame.loc[frame["arm"] == "glow", "configuration"].iloc[0]

    same = configuration(images=1000, evaluations=10)
    assert configuration(images=2000, evaluations=20) == same
    assert configuration(images=1000, evaluations=10, learning_rate=0.5) != same
