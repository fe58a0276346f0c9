"""Budgets that people have become training images, exactly and in the open."""

from dataclasses import replace

import pytest

from bench.core.errors import SettingsError
from bench.data.bundled import DIGITS
from bench.data.keras_datasets import MNIST
from bench.study.budget import (
    END_SECONDS,
    MEASURING_SECONDS,
    MOST_FIXED,
    REFERENCE_SHARE,
    SEARCH_SHARE,
    SPARE,
    START_SECONDS,
    check_budget,
    final_evaluations,
    images_of_runs,
    largest,
    plan_time,
)
from bench.study.config import TrainingConfig
from bench.study.definition import LEAST_EVALUATIONS, Arm, BoundStudy, Earlier, Study, StudySettings
from bench.study.plan import middle_values, plan, plan_reference
from bench.study.reference_model import NAME, reference_study, too_large
from bench.study.search_space import Choices, Integers, Reals
from bench.study.speed import Speed, training_operations
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

RATES = Reals(1e-4, 1e-2, log=True)
VAE = Arm(VAEConfig(hidden_sizes=(16,), latent_size=4), {"learning_rate": RATES, "latent_size": Integers(2, 16)})
GLOW = Arm(GlowConfig(levels=1, flow_depth=1, hidden_channels=4), {"learning_rate": RATES})
FAST = Speed(first_seconds=1.0, step_seconds=0.001, likelihood_seconds=1e-5)
SLOW = Speed(first_seconds=4.0, step_seconds=0.01, likelihood_seconds=1e-4)
SPEEDS = {"vae": FAST, "glow": SLOW, NAME: SLOW}


def bind(*arms, info=DIGITS, **settings):
    study = Study(name="s", question="?", arms=arms or (VAE, GLOW))
    return BoundStudy(study, StudySettings.from_options(settings), info, "d")


def spent(bound, planned):
    """Seconds of the plan that the bound study's images lead to, by arm: of its search, and of its final runs."""
    plans = plan(replace(bound, images=planned.images), SPEEDS)
    longer = {each.arm.name: planned.times[each.arm.name].longer for each in plans}
    finals = {each.arm.name: replace(each.times, longer=longer[each.arm.name]) for each in plans}
    return {each.arm.name: (each.search_seconds, finals[each.arm.name].finals(bound.settings.seeds)) for each in plans}


@pytest.mark.parametrize("time", [300, 1800, 36_000])
@pytest.mark.parametrize("more", [{}, {"trials": 3}, {"seeds": 1}, {"pruner": "none"}, {"reference_model": False}])
def test_arms_share_the_time_evenly_by_cost_and_not_by_images(time, more):
    bound = bind(time=time, **more)
    planned = plan_time(bound, SPEEDS)
    by_arm = spent(bound, planned)
    share = (time - planned.start - END_SECONDS - planned.reference) / 2
    # Whole evaluations of whole steps.
    for arm, (search, finals) in by_arm.items():
        # Or final runs see as many images as trials.
        assert search == pytest.approx(SEARCH_SHARE * share, rel=0.05) or planned.times[arm].longer < 1.1
        assert search <= SEARCH_SHARE * share
        assert (1 - SPARE) * share <= search + finals <= share
    assert planned.images["vae"] > 5 * planned.images["glow"]
    ratios = {arm: planned.final_images[arm] / planned.images[arm] for arm in by_arm}
    assert ratios == pytest.approx({arm: planned.times[arm].longer for arm in by_arm}, rel=1e-3)
    # Of three trials three final runs are the larger part in any case.
    assert time == 300 or "trials" in more or all(ratio > 1.05 for ratio in ratios.values())
    assert planned.finals_end == time - END_SECONDS - planned.reference


def test_twice_the_time_gives_at_least_twice_the_images():
    short, long = (plan_time(bind(time=time), SPEEDS).images for time in (1800, 3600))
    assert all(1.9 * short[arm] < long[arm] for arm in ("vae", "glow"))


def test_the_reference_model_has_a_tenth_of_the_time_at_most_and_is_left_out_where_that_is_too_little():
    for time in (600, 1800):
        bound = bind(time=time)
        planned = plan_time(bound, SPEEDS)
        whole = replace(bound, images=planned.images)
        assert planned.reference == plan_reference(whole, SLOW).final_seconds
        assert 0.5 < planned.reference / (REFERENCE_SHARE * (time - planned.start - END_SECONDS)) <= 1
        assert reference_study(whole) is not None
    bound = bind(time=154, info=MNIST, evaluation_images=10)
    planned = plan_time(bound, SPEEDS)
    whole = replace(bound, images=planned.images)
    assert (planned.reference, reference_study(whole)) == (0.0, None)
    assert "the study's time leaves it fewer than 500 steps of 64 images" in too_large(whole)


def test_a_reference_model_that_the_time_cannot_pay_for_is_left_out_also_where_arms_see_few_images():
    slow = Speed(first_seconds=4.0, step_seconds=0.9, likelihood_seconds=1e-3)
    bound = bind(time=1800, info=MNIST, evaluation_images=1000, importance_samples=4)
    planned = plan_time(bound, {"vae": slow, "glow": slow, NAME: slow})
    assert max(planned.images[arm] for arm in ("vae", "glow")) < 32_000
    whole = replace(bound, images=planned.images)
    assert (planned.reference, reference_study(whole)) == (0.0, None)
    assert "the study's time leaves it fewer than 500 steps of 64 images" in too_large(whole)


def test_a_longer_time_counts_the_evaluations_at_the_distance_that_the_study_was_begun_with():
    bound = bind(time=1800, info=MNIST, reference_model=False, evaluation_images=2000, importance_samples=4)
    costly = {"vae": SLOW, "glow": SLOW}
    begun = replace(bound, earlier={"vae": Earlier(640, 10), "glow": Earlier(64_000, 1)})
    fresh, longer = plan_time(bound, costly).images, plan_time(begun, costly).images
    assert longer["vae"] < 0.7 * fresh["vae"]
    # Of whole intervals of 64,000 images.
    assert 0.8 * fresh["glow"] < longer["glow"] == 7 * 64_000


def test_the_plan_says_how_the_time_is_spent():
    lines = plan_time(bind(time=1800), SPEEDS).sentences()
    # Two configurations of each of the three models are compiled and measured.
    assert lines[0] == f"{START_SECONDS + 2 * (1 + 4 + 4 + 3 * MEASURING_SECONDS):.0f} s to begin"
    assert lines[1].startswith("vae: ")
    assert "images a trial, " in lines[1]
    assert lines[1].endswith(" a final run")
    assert [lines[2][:6], lines[-2][-19:], lines[-1]] == ["glow: ", "the reference model", "25 s for the report"]


def test_a_time_that_is_too_short_is_refused_with_what_it_would_take():
    with pytest.raises(SettingsError, match=r"time=90 leaves vae 0 s, and a single trial and 3 final runs take \d+ s"):
        plan_time(bind(time=90), SPEEDS)
    with pytest.raises(SettingsError, match=r"time=20 leaves vae 0 s, and 3 final runs take"):
        plan_time(bind(replace(VAE, sweep={}), time=20), SPEEDS)


def test_where_all_trials_do_not_fit_the_search_is_planned_for_fewer():
    slow = {"vae": SLOW}
    shortest = next(time for time in range(60, 900, 10) if _fits(bind(VAE, time=time, trials=1), slow))
    planned = plan_time(bind(VAE, time=shortest, trials=8), slow)
    assert 1 <= planned.trials["vae"] < 8
    assert f"of search, enough for {planned.trials['vae']} of 8 trials, " in planned.sentences()[1]
    share = planned.seconds - planned.start - END_SECONDS - planned.reference
    times = planned.times["vae"]
    assert times.search + times.finals(3) <= share
    whole = plan_time(bind(VAE, time=20 * shortest, trials=8), slow)
    assert whole.trials == {"vae": 8}
    assert "enough for" not in whole.sentences()[1]


def test_compiling_and_measuring_trials_leave_half_of_the_search_to_train_them():
    compiled = SLOW.model_copy(update={"first_seconds": 10.0})
    bound = bind(VAE, time=400, trials=8)
    planned = plan_time(bound, {"vae": compiled})
    times, trials = planned.times["vae"], planned.trials["vae"]
    assert 1 < trials < 8
    of_search = SEARCH_SHARE * (planned.finals_end - planned.start)
    assert (trials - 1) * times.first < MOST_FIXED * of_search
    # All eight would have fitted, with ten steps each.
    assert 8 * times.first < of_search - 10
    assert planned.images["vae"] > 10 * LEAST_EVALUATIONS * 64


def _fits(bound, speeds):
    try:
        plan_time(bound, speeds)
    except SettingsError:
        return False
    return True


def test_a_test_that_takes_too_long_is_refused_with_a_number_of_images_that_would_do():
    bound = bind(VAE, time=600, info=MNIST)
    with pytest.raises(SettingsError, match=r"for example --evaluation-images (\d+)") as raised:
        plan_time(bound, {"vae": SLOW})
    number = int(str(raised.value).rpartition(" ")[2])
    fewer = bind(VAE, time=600, info=MNIST, evaluation_images=number)
    times = plan_time(fewer, {"vae": SLOW}).times["vae"]
    assert 3 * times.measuring < 0.6 * (times.search + times.finals(3))


@pytest.mark.parametrize(
    "arm",
    [
        replace(VAE, training=TrainingConfig(decay="cosine")),
        Arm(VAEConfig(), {"decay": Choices(("plateau", "cosine"))}),
        Arm(VAEConfig(), {"images": Integers(100, 10**6)}),
    ],
    ids=["cosine", "swept", "images"],
)
def test_a_schedule_that_depends_on_the_budget_does_not_fit_one_that_depends_on_the_machine(arm):
    for name in ("time", "seconds", "joules"):
        with pytest.raises(SettingsError, match=rf"{name}=60: the schedule of vae.*depend.*give epochs, .*, or decay="):
            check_budget(bind(arm, GLOW, **{name: 60}))
    for name in ("images", "operations"):
        check_budget(bind(arm, GLOW, **{name: 1e9 if name == "operations" else 1000}))


def test_seconds_become_images_by_each_arms_own_speed():
    bound = bind(seconds=10)
    assert images_of_runs(bound, SPEEDS) == {"vae": 640_000, "glow": 64_000}
    whole = replace(bound, images=images_of_runs(bound, SPEEDS))
    assert [each.images for each in plan(whole)] == pytest.approx([640_000, 64_000], rel=0.02)


def test_joules_become_images_by_what_a_step_took():
    speeds = {name: speed.model_copy(update={"step_joules": 0.5}) for name, speed in SPEEDS.items()}
    assert images_of_runs(bind(joules=100), speeds) == {"vae": 12_800, "glow": 12_800}
    with pytest.raises(SettingsError, match=r"joules=100: .*no counter of energy"):
        images_of_runs(bind(joules=100), SPEEDS)


def test_operations_become_images_by_the_models_own_size_as_reports_count_them():
    bound = bind(operations=1e9)
    found = images_of_runs(bound)
    for arm in bound.study.arms:
        config = bound.configure(arm, middle_values(arm.sweep))
        per_image = training_operations(config, DIGITS)
        assert per_image == 6 * config.model.size((8, 8, 1), 17).multiplications
        assert found[arm.name] == int(1e9 / per_image)
    one, five = (images_of_runs(bind(Arm(VAEConfig(training_samples=k)), operations=1e9))["vae"] for k in (1, 5))
    assert one == pytest.approx(5 * five, abs=5)


def test_operations_of_a_model_without_a_size_are_not_known(monkeypatch):
    monkeypatch.setattr(VAEConfig, "size", lambda self, *image: None)
    with pytest.raises(SettingsError, match="operations=10: the models of vae state no size"):
        check_budget(bind(operations=10))


@pytest.mark.parametrize("budget", [{"seconds": 1e-6}, {"operations": 10}])
def test_a_budget_of_less_than_a_step_is_refused(budget):
    with pytest.raises(SettingsError, match=r"is less than a step of 64 images of vae takes"):
        images_of_runs(bind(**budget), SPEEDS)


def test_without_such_a_budget_images_are_the_settings_own():
    assert images_of_runs(bind(epochs=2)) == {}


def test_a_budget_does_not_change_a_studys_identity():
    bound = bind()
    assert len({each.study_id for each in (bound, bind(time=60), bind(seconds=3), bind(operations=1e9))}) == 1
    assert replace(bind(time=60), images={"vae": 10_000, "glow": 640}).study_id == bound.study_id


@pytest.mark.parametrize("bar", [1, 7, 1000, 10**12])
def test_the_largest_that_fits_is_found_to_a_thousandth(bar):
    assert bar * 0.999 <= largest(lambda n: n <= bar, 1) <= bar
    assert largest(lambda n: n <= bar, bar + 1) == 0


def test_final_runs_fill_their_share_and_never_shrink():
    # (100 - 10) s of two runs at 1 s an evaluation.
    assert final_evaluations(100, 10, 1.0, [0, 0], 40, 4000) == 45
    assert final_evaluations(100, 10, 1.0, [30, 30], 40, 4000) == 75
    assert final_evaluations(100, 10, 1.0, [30, 90], 40, 4000) == 105
    assert final_evaluations(5, 10, 1.0, [30, 90], 40, 4000) == 90
    assert final_evaluations(5, 10, 1.0, [0, 0], 40, 4000) == 10
    assert final_evaluations(1e6, 10, 1.0, [0, 0], 40, 4000) == 4000


def test_an_arm_without_a_search_has_final_runs_of_its_whole_share():
    planned = plan_time(bind(replace(GLOW, sweep={}), time=1800), SPEEDS)
    times = planned.times["glow"]
    assert (times.search, times.longer, planned.final_images) == (0.0, 1.0, {"glow": planned.images["glow"]})
    assert times.finals(3) == pytest.approx(planned.finals_end - planned.start, rel=0.03)
    assert planned.sentences()[1].endswith(f"{planned.images['glow']:,} images a run")


def test_where_a_trial_takes_more_than_the_search_s_share_final_runs_see_as_many_images():
    compared = {"vae": SLOW.model_copy(update={"first_seconds": 0.0, "likelihood_seconds": 2e-3})}
    settings = {"trials": 1, "seeds": 1, "importance_samples": 1, "reference_model": False, "pruner": "none"}
    times = (tenths / 10 for tenths in range(600, 9000))
    shortest = next(time for time in times if _fits(bind(VAE, time=time, **settings), compared))
    planned = plan_time(bind(VAE, time=shortest, **settings), compared)
    share, times = planned.finals_end - planned.start, planned.times["vae"]
    assert SEARCH_SHARE * share < times.search
    assert 0.95 * share < times.search + times.finals(1) <= share
    assert times.longer == pytest.approx(1.0, abs=0.1)
