"""Studies of one data set at several numbers of training images: orders, crossings, gains, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

from bench.core.errors import SettingsError
from reports.analysis.frontier import changes_of_order
from reports.analysis.results import Study
from reports.analysis.statistics import compare_each
from reports.analysis.train_sizes import are_train_sizes, over_train_sizes
from reports.pages.train_sizes import write_train_sizes
from reports.text import train_sizes as text

WHOLE = 2500


@pytest.fixture
def of(study):
    """A study of so many training images, by the test bits/dim of the seeds of its arms."""

    def make(n, levels, *, measured=True, data="digits", held_out="h", families=None, seen=None, **settings):
        builder = study(levels, measured=measured, families=families)
        results = builder.results(
            study_id=f"s-{data}-{n}", arms=families or {arm: arm for arm in levels}, swept={arm: [] for arm in levels}
        )
        chosen = n < WHOLE
        results.dataset.update(
            name=f"{data}-{n}" if chosen else data,
            digest=f"{data} {n}",
            held_out=held_out,
            sizes={"train": n, "validation": 50, "test": 100},
            chosen_from=WHOLE if chosen else None,
        )
        results.settings.update({"training_images": dict.fromkeys(levels, seen or 60 * WHOLE), **settings})
        return Study(results)

    return make


def level(mean, seeds=3, apart=0.01):
    return [mean + apart * (seed - (seeds - 1) / 2) for seed in range(seeds)]


def said(sentences):
    return " ".join(sentences if isinstance(sentences, list) else [sentences]).replace("\u00a0", " ")


@pytest.fixture
def crossing(of):
    """VAE is lower with few images and Glow with many; at 1,000 it is open."""
    means = {300: (2.0, 2.3), 1000: (1.9, 1.905), WHOLE: (1.85, 1.7)}
    studies = [of(n, {"vae": level(vae), "glow": level(glow)}) for n, (vae, glow) in means.items()]
    return over_train_sizes([studies[2], studies[0], studies[1]])


def test_each_number_has_the_order_that_its_own_study_says(crossing):
    assert list(crossing.studies) == ["300", "1,000", "2,500"]
    assert crossing.data_name == "digits"
    assert [(row.lowest, row.second, row.is_clear) for row in crossing.orders] == [
        ("vae", "glow", True),
        ("vae", "glow", False),
        ("glow", "vae", True),
    ]
    value, low, high = crossing.orders[0].above
    assert low < value < high
    assert value == pytest.approx(0.3)
    assert said(text.headline(crossing)) == (
        "Which arm is better on digits changes with the number of training images: at 300 VAE has the lower test "
        "bits/dim; at 1,000 the data do not decide between VAE and Glow; at 2,500 Glow has the lower test bits/dim."
    )


def test_arms_cross_where_their_means_change_order_and_the_interval_ends_where_studies_decide(crossing):
    (found,) = crossing.crossings
    assert (found.before, found.after, found.at) == ("vae", "glow", WHOLE)
    assert (found.low, found.high, found.times) == (300, WHOLE, 1)
    assert said(text.details(crossing)).startswith(
        "The means of VAE and Glow cross between 1,000 and 2,500 images (95% interval 300 images to 2,500 images): VAE "
        "is lower before, Glow after."
    )


def test_what_more_images_bring_is_paired_over_the_same_test_images(crossing):
    steps = [(gain.arm, gain.before, gain.after) for gain in crossing.gains]
    assert steps == [(arm, *step) for arm in ("vae", "glow") for step in ((300, 1000), (1000, WHOLE))]
    changes = [gain.change for gain in crossing.gains]
    assert all(change.paired and change.over_seeds for change in changes)
    assert [change.value for change in changes] == pytest.approx([-0.1, -0.05, -0.395, -0.205])
    assert "Glow falls from 2.30 bits/dim at 300 training images to 1.70 at 2,500: a change of −0.60" in said(
        text.details(crossing)
    )
    assert [row[-1].text for row in text.gains(crossing).rows] == ["lower"] * 4


def test_more_images_may_bring_nothing_beyond_noise(of):
    found = over_train_sizes([of(n, {"vae": level(2.0 - n * 1e-7, apart=0.05)}) for n in (300, WHOLE)])
    assert [row[-1].text for row in text.gains(found).rows] == ["within noise"]
    assert said(text.headline(found)).startswith(
        "VAE falls from 2.00 bits/dim at 300 training images to 2.00 at 2,500:"
    )
    # One arm has no order.
    assert text.likelihoods(found).columns == ["Training images", "VAE"]


def test_values_of_different_bounds_are_no_gain(of):
    studies = [of(n, {"vae": level(2.0)}) for n in (300, WHOLE)]
    rows = studies[0].results.measurements
    rows.loc[rows["metric"] == "bits_per_dim", "importance_samples"] = 4
    (gain,) = over_train_sizes(studies).gains
    assert gain.change is None


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        (
            {300: (2.3, 2.0), WHOLE: (2.0, 1.7)},
            "Glow has the lower test bits/dim on digits at every number of training images, from 300 to 2,500.",
        ),
        (
            {300: (2.0, 2.001), WHOLE: (1.9, 1.901)},
            "At no number of training images of digits, from 300 to 2,500, do the data decide between VAE and Glow.",
        ),
        (
            {300: (2.0, 2.001), 1000: (1.9, 1.6), WHOLE: (1.8, 1.5)},
            "How clear the answer on digits is depends on the number of training images: at 300 the data do not decide "
            "between VAE and Glow; from 1,000 to 2,500 Glow has the lower test bits/dim.",
        ),
        (
            {300: (2.3, 2.0), 1000: (2.1, None), WHOLE: (2.0, 1.7)},
            "Glow has the lower test bits/dim on digits at 300 and 2,500 training images, the numbers at which two "
            "arms have a value.",
        ),
        (
            {300: (2.0, 2.001), 1000: (None, 1.9), WHOLE: (1.9, 1.901)},
            "The data do not decide between VAE and Glow on digits at 300 and 2,500 training images, the numbers at "
            "which two arms have a value.",
        ),
        (
            {300: (2.3, 2.0), WHOLE: (2.0, None)},
            "Glow has the lower test bits/dim on digits at 300 training images, the only number at which two arms have "
            "a value.",
        ),
    ],
)
def test_the_headline_says_what_holds_over_which_numbers(of, means, expected):
    studies = [
        of(n, {arm: [] if mean is None else level(mean) for arm, mean in zip(("vae", "glow"), pair, strict=True)})
        for n, pair in means.items()
    ]
    assert said(text.headline(over_train_sizes(studies))) == expected


def test_a_smoke_run_is_marked(of):
    studies = [of(n, {"vae": level(2.0)}, smoke=True) for n in (300, WHOLE)]
    assert text.headline(over_train_sizes(studies)).startswith("Smoke run: ")


def test_arms_that_are_absent_or_have_no_value_are_said(of):
    found = over_train_sizes(
        [
            of(300, {"vae": level(2.0), "glow": []}),
            of(1000, {"vae": level(1.9), "glow": level(1.8)}),
            of(WHOLE, {"glow": level(1.7), "jet": level(1.5)}, families={"glow": "glow", "jet": "vae"}),
        ]
    )
    details = said(text.details(found))
    assert "VAE has no test bits/dim at 2,500 training images." in details
    assert "Glow has no test bits/dim at 300 training images." in details
    assert "jet has no test bits/dim at 300 and 1,000 training images." in details
    cells = [[cell.text for cell in row[1:4]] for row in text.likelihoods(found).rows]
    assert [row.count("absent") + row.count("no value") for row in cells] == [2, 1, 1]
    assert found.orders[0].lowest == ""
    assert found.compared


def test_the_budget_at_each_number_is_said(of):
    same = [of(n, {"vae": level(2.0)}, seen=150_000 - n) for n in (300, WHOLE)]
    assert "runs have about the same budget of images seen: at most 149,700 images." in said(
        text.details(over_train_sizes(same))
    )
    passes = [of(n, {"vae": level(2.0)}, seen=20 * n) for n in (300, WHOLE)]
    assert (
        "Budgets differ with the number of training images: runs saw at most 6,000 at 300 and 50,000 at 2,500. What "
        "more images bring is then also what more training brings."
    ) in said(text.details(over_train_sizes(passes)))


def test_one_seed_and_other_settings_are_said(of):
    studies = [
        of(n, {"vae": level(2.0, seeds=1), "glow": level(1.8)}, importance_samples=k)
        for n, k in ((300, 64), (WHOLE, 256))
    ]
    details = said(text.details(over_train_sizes(studies)))
    assert "Where an arm has one seed, its interval is over test images alone" in details
    assert "The studies differ in more than their training images: importance_samples." in details


def test_studies_of_one_data_set_are_known_by_what_they_hold_out(of):
    sizes = [of(n, {"vae": level(2.0)}) for n in (300, WHOLE)]
    assert are_train_sizes(sizes)
    others = [of(WHOLE, {"vae": level(2.0)}, data=data, held_out=data) for data in ("digits", "mnist")]
    assert not are_train_sizes(others)
    # The same data twice is for the comparison over data sets to refuse.
    assert not are_train_sizes([sizes[0], sizes[0], others[1]])


def test_numbers_of_images_and_data_sets_are_not_mixed(of):
    sizes = [of(n, {"vae": level(2.0)}) for n in (300, WHOLE)]
    other = of(WHOLE, {"vae": level(2.0)}, data="mnist", held_out="m")
    message = (
        "^s-digits-300 and s-digits-2500 are of one data set with other training images, and s-mnist-2500 is of "
        "another data set: give studies of one data set, or one of each$"
    )
    with pytest.raises(SettingsError, match=message):
        are_train_sizes([sizes[0], other, sizes[1]])


def test_two_studies_of_one_number_are_refused(of):
    studies = [of(n, {"vae": level(2.0)}) for n in (300, 1000, 300)]
    studies[2].results.dataset["digest"] = "other images"
    message = "s-digits-300 and s-digits-300 both trained on 300 images: give one study for each number"
    assert are_train_sizes(studies)
    with pytest.raises(SettingsError, match=message):
        over_train_sizes(studies)


def test_a_study_that_does_not_say_its_number_is_refused(of):
    studies = [of(n, {"vae": level(2.0)}) for n in (300, WHOLE)]
    del studies[1].results.dataset["sizes"]
    with pytest.raises(SettingsError, match="s-digits-2500 does not say how many images it trained on: leave it out"):
        over_train_sizes(studies)


def test_data_sets_that_hold_out_the_same_images_are_not_numbers_of_images_of_one(of):
    """As clean and noisy training images of one test split, or of a part of each."""
    clean, noisy = (of(WHOLE, {"vae": level(2.0)}, data=data) for data in ("clean", "noisy"))
    assert not are_train_sizes([clean, noisy])
    noisy.results.dataset["sizes"] = {"train": 900, "validation": 50, "test": 100}
    assert not are_train_sizes([clean, noisy])
    parts = [of(500, {"vae": level(2.0)}, data=data) for data in ("clean", "noisy")]
    assert not are_train_sizes(parts)
    # Choices of different numbers are of different images.
    parts[1].results.dataset.update(chosen_from=900, sizes={"train": 600, "validation": 50, "test": 100})
    assert not are_train_sizes(parts)


def test_a_study_of_an_earlier_version_that_may_be_of_the_same_data_is_refused(of):
    old, part = of(WHOLE, {"vae": level(2.0)}, held_out=""), of(300, {"vae": level(2.1)})
    message = (
        "^s-digits-2500 does not say which images it holds out, and s-digits-300 may be of a part of its data: run its "
        "command again, which logs that$"
    )
    with pytest.raises(SettingsError, match=message):
        are_train_sizes([old, part])
    assert not are_train_sizes([old, of(WHOLE, {"vae": level(2.0)}, data="mnist", held_out="")])
    # One of as many images cannot be of the same data if that has more.
    old.results.dataset["sizes"] = {"train": 700, "validation": 50, "test": 100}
    assert not are_train_sizes([old, part])


def in_nats(study, arm):
    """The study with the likelihoods of an arm in another unit."""
    frame = study.results.measurements
    frame.loc[(frame["arm"] == arm) & (frame["metric"] == "bits_per_dim"), "unit"] = "nats"
    return study


def test_a_number_at_which_likelihoods_have_several_units_is_left_out(of):
    studies = [of(n, {"vae": level(2.0), "glow": level(1.9)}) for n in (300, 1000, WHOLE)]
    found = over_train_sizes([in_nats(studies[0], "vae"), *studies[1:]])
    assert found.sizes == [1000, WHOLE]
    assert found.data_name == "digits"
    assert text.details(found)[0] == (
        "digits-300 is left out: its likelihoods stand in bits/dim and nats, and have no order."
    )


def test_where_every_number_is_left_out_the_page_says_why(of, tmp_path):
    found = over_train_sizes([in_nats(of(n, {"vae": level(2.0), "glow": level(1.9)}), "vae") for n in (300, WHOLE)])
    assert found.studies == {}
    assert text.headline(found) == "No arm was measured at two numbers of training images."
    markdown = write_train_sizes(found, tmp_path).with_suffix(".md").read_text("utf-8")
    assert "A comparison over numbers of training images of digits: none" in markdown
    assert markdown.count("is left out: its likelihoods stand in bits/dim and nats") == 2


def test_a_crossing_without_an_interval_blames_no_seed(of):
    means = {300: (2.0, 2.3), WHOLE: (1.85, 1.7)}
    levels = {n: {"vae": level(vae, 1), "glow": level(glow, 1)} for n, (vae, glow) in means.items()}
    studies = [of(n, each, measured=False) for n, each in levels.items()]
    for study in studies:
        study.results.measurements["standard_error"] = np.nan
    found = over_train_sizes(studies)
    assert [each.has_interval for each in found.crossings] == [False]
    sentence = "The means of VAE and Glow cross between 300 and 2,500 images (no interval): "
    assert said(text.details(found)).startswith(sentence)


def set_sizes(results, sizes):
    results.runs["param.hidden_sizes"] = sizes


CHANGES = {
    "extractor": lambda results: results.settings.update(extractor="inception_v3"),
    "commit": lambda results: results.provenance.update(commit="another"),
    "what VAE sweeps": lambda results: results.space.update(vae={"latent_size": {"low": 2, "high": 9}}),
    "the fixed parameters of VAE": lambda results: set_sizes(results, "(9,)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_studies_differ_in_beside_their_images_is_said(of, name):
    studies = [of(n, {"vae": level(2.0)}) for n in (300, WHOLE)]
    for number, study in enumerate(studies):
        study.results.space["vae"] = {"latent_size": {"low": 2, "high": 8}}
        set_sizes(study.results, "(4,)")
        study.results.runs["param.images"] = 1000 + number
    assert over_train_sizes(studies).differing == []
    CHANGES[name](studies[0].results)
    found = over_train_sizes([Study(each.results) for each in studies])
    assert found.differing == [name]
    assert f"The studies differ in more than their training images: {name}." in said(text.details(found))


def test_how_often_runs_were_evaluated_and_what_they_really_saw_is_said(of):
    studies = [of(n, {"vae": level(2.0), "glow": level(1.9)}) for n in (300, WHOLE)]
    for study, times in zip(studies, (400, 60), strict=True):
        study.results.runs["param.evaluations"] = str(times)
    found = over_train_sizes(studies)
    assert (
        "Runs were evaluated up to 400 times at 300 and 60 times at 2,500: patience, by which the learning rate falls "
        "and training ends, counts these."
    ) in said(text.details(found))
    table = text.sources(found)
    cells = [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]
    assert [row["Evaluations at most"] for row in cells] == ["400", "60"]
    last = studies[0].results.histories.groupby("run_id")["images"].max().max()
    assert {row["Images really seen"] for row in cells} == {f"{int(last):,}"}
    for study in studies:
        study.results.runs["param.evaluations"] = "60"
    again = over_train_sizes([Study(each.results) for each in studies])
    assert "were evaluated" not in said(text.details(again))


def test_the_interval_of_a_crossing_holds_the_place_where_the_true_curves_cross():
    """Simulated: two straight lines in log n that cross at 1,100, seen with noise between three seeds."""
    rng, numbers, true = np.random.default_rng(0), np.array([250.0, 500, 1000, 2000, 4000]), 1100
    fall = 0.1 * np.log2(numbers / true)
    rounds, held, finite, between = 200, 0, 0, 0
    for _ in range(rounds):
        vae, glow = (2 - slope + rng.normal(0, 0.02, (3, len(numbers))) for slope in (fall / 2, fall))
        points = compare_each(glow, vae).assign(cost=numbers)
        found = changes_of_order(points.assign(sign=np.sign(points["value"])), "vae", "glow", has_interval=True)
        held += any((each.low or 0) <= true <= (each.high or np.inf) for each in found)
        finite += any(each.low is not None and each.high is not None for each in found)
        between += any(numbers[numbers < each.at].max() <= true <= each.at for each in found)
    assert finite >= 0.8 * rounds
    assert held >= 0.95 * rounds
    # The numbers between which the means cross are no such interval.
    assert between <= 0.85 * rounds
