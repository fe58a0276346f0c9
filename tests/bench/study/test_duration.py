import pytest

from bench.core.errors import SettingsError
from bench.study.definition import BUDGETS, StudySettings
from bench.study.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (" 30M ", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2h0m5s", 7205), ("0.5", 0.5)],
)
def test_a_duration_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text) == seconds
    assert StudySettings.from_options({"time": text}).time == seconds


@pytest.mark.parametrize("text", ["", "m", "1x", "30m1h", "1h30", "-5s", "1:30", "½h", "nan", "5 m"])
def test_what_is_no_duration_is_refused_with_examples(text):
    with pytest.raises(SettingsError, match=r"time=.*a duration such as 90s, 30m or 1h30m, or a number of seconds"):
        StudySettings.from_options({"time": text})


@pytest.mark.parametrize("value", [0, "0s", -1, float("inf"), float("nan")])
def test_a_duration_that_is_none_is_refused(value):
    with pytest.raises(SettingsError, match="time="):
        StudySettings.from_options({"time": value})


def test_a_number_of_seconds_is_one():
    assert parse_duration(12.5) == 12.5


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_it_is_shown_in_the_unit_that_reads_well(seconds, text):
    assert format_duration(seconds) == text


def test_one_setting_sets_the_budget():
    values = {"epochs": 3, "images": 100, "seconds": 5, "operations": 1e9, "joules": 4, "time": 60}
    assert set(values) == set(BUDGETS)
    for first in values:
        StudySettings.from_options({first: values[first]})
        for second in set(values) - {first}:
            with pytest.raises(SettingsError, match=rf"(?=.*{first}=)(?=.*{second}=).*not both: each sets the budget"):
                StudySettings.from_options({name: values[name] for name in (first, second)})


@pytest.mark.parametrize("more", [{"workers": 2}, {"workers": 0}, {"engine": "ray"}])
def test_a_time_is_kept_by_one_process(more):
    with pytest.raises(SettingsError, match="time=60 is kept by a single process"):
        StudySettings.from_options({"time": 60, **more})


def test_a_time_and_a_timeout_exclude_each_other():
    with pytest.raises(SettingsError, match=r"give time=60, .* or timeout=5"):
        StudySettings.from_options({"time": 60, "timeout": 5})


def test_a_smoke_run_has_its_own_budget():
    settings = StudySettings.from_options({"time": "1h", "smoke": True})
    assert (settings.time, settings.images) == (None, 512)
