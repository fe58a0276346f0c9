"""Studies of several data sets brought together: arms by name, ranks within each data set, and what is left out."""

from __future__ import annotations

import pytest

from bench.core.errors import SettingsError
from reports.analysis.data_sets import over_data_sets
from reports.analysis.results import Study
from reports.text import data_sets as text
from reports.text.data_sets import details, likelihoods, profile_sentences, profile_table


@pytest.fixture
def of(study):
    """A study of one data set, by the mean test bits/dim of its arms."""

    def make(name, levels, *, digest=None, levels_of_grey=256, factor=None, seeds=2):
        values = {arm: [] if mean is None else [mean + 0.001 * s for s in range(seeds)] for arm, mean in levels.items()}
        builder = study(values)
        for row in builder.measurements:
            if row["metric"] == "training_seconds":
                row["value"] = (factor or {}).get(row["arm"], 1.0) * 10
        return Study(
            builder.results(
                study_id=f"s-{name}-{digest or name}",
                dataset={
                    "name": name,
                    "digest": f"sha256:{digest or name}",
                    "image_shape": (8, 8, 1),
                    "grey_levels": levels_of_grey,
                },
            )
        )

    return make


def headline(found):
    return text.headline(found).replace("\u00a0", " ")


def texts(table):
    return [[cell.text.replace("\u00a0", " ") for cell in row] for row in table.rows]


def test_arms_are_ranked_on_each_data_set_by_its_own_scale(of):
    found = over_data_sets(
        [
            of("black-and-white", {"vae": 0.11, "glow": 0.10}, levels_of_grey=2),
            of("grey", {"vae": 3.1, "glow": 3.4}),
            of("colour", {"glow": 4.2, "vae": 4.1}),
        ]
    )
    assert found.ranks.to_numpy().tolist() == [[2, 1], [1, 2], [1, 2]]
    assert found.average_ranks == {"vae": pytest.approx(4 / 3), "glow": pytest.approx(5 / 3)}
    assert found.test is not None
    assert found.test.p == pytest.approx(1.0)
    assert headline(found) == (
        "Over 3 data sets VAE has the lowest average rank, 1.33, but no difference between arms is established "
        "(Friedman's test, p = 1.000)."
    )
    notes = details(found)
    assert notes[0] == (
        "With 2 arms, 3 data sets cannot reach 5% however they turn out: the smallest possible p is 0.250; 6 data sets "
        "could."
    )
    assert notes[1].startswith("The data sets have different numbers of grey levels")
    assert len(notes) == 2


def test_scaling_one_data_set_changes_nothing(of):
    def ranks(factor):
        levels = [{"vae": 0.11, "glow": 0.10}, {"vae": 3.1, "glow": 3.4}, {"vae": 4.1, "glow": 4.2}]
        levels[0] = {arm: factor * value for arm, value in levels[0].items()}
        found = over_data_sets([of(f"d{i}", each, seeds=1) for i, each in enumerate(levels)])
        return headline(found), found.test.pairs, profile_sentences(found)

    assert ranks(1.0) == ranks(20.0)


def test_two_data_sets_are_a_table_and_no_test(of):
    found = over_data_sets([of("a", {"vae": 2.0, "glow": 1.9}), of("b", {"vae": 3.0, "glow": 2.9})])
    assert found.test is None
    assert headline(found) == (
        "Glow has the lowest test bits/dim on both data sets. No test over 2 data sets can say which arm is better in "
        "general: the table is all that is known."
    )
    assert details(found) == ["A test needs 6 data sets or more with these 2 arms."]
    table = likelihoods(found)
    assert table.columns == ["Data set", "Glow", "VAE"]
    assert [row[0] for row in texts(table)] == ["a", "b"]
    assert table.rows[0][2].notes == ["rank 2", "+5.3%", "2 seeds"]


def test_six_data_sets_that_agree_establish_an_order(of):
    found = over_data_sets([of(f"d{i}", {"vae": 2.0, "glow": 1.9}) for i in range(6)])
    assert headline(found) == (
        "Over 6 data sets Glow has the lowest average rank, 1.00, and the arms differ (Friedman's test, p = 0.031). "
        "All are: Glow below VAE (p = 0.031)."
    )
    assert details(found) == []


def test_equal_values_share_their_rank(of):
    found = over_data_sets([of(f"d{i}", {"vae": 2.0, "glow": 2.0}) for i in range(3)])
    assert found.ranks.to_numpy().tolist() == [[1.5, 1.5]] * 3
    assert headline(found).startswith("Over 3 data sets VAE and Glow share the lowest average rank, but no difference")
    assert likelihoods(found).rows[0][1].notes == ["rank 1.5", "2 seeds"]
    assert profile_sentences(found)[0] == "VAE and Glow have the lowest bits/dim on all 3 data sets, each."


def test_an_arm_that_is_absent_or_has_no_value_somewhere_is_shown_and_not_ranked(of):
    found = over_data_sets(
        [
            of("a", {"vae": 2.0, "glow": 1.9, "jet": 1.8}),
            of("b", {"vae": 3.0, "glow": 2.9, "jet": None}),
            of("c", {"vae": 3.0, "glow": 2.9, "flow": 1.0}),
        ]
    )
    assert found.ranked == ["vae", "glow"]
    # Among the ranked arms alone.
    assert found.ranks.loc["a"].tolist() == [2, 1]
    assert details(found)[1:] == [
        "jet is not ranked: it has no test bits/dim on b and c.",
        "flow is not ranked: it has no test bits/dim on a and b.",
    ]
    assert texts(likelihoods(found)) == [
        ["a", "1.90050 ± 0.00050", "2.00050 ± 0.00050", "1.80050 ± 0.00050", "absent"],
        ["b", "2.90050 ± 0.00050", "3.00050 ± 0.00050", "no value", "absent"],
        ["c", "2.90050 ± 0.00050", "3.00050 ± 0.00050", "absent", "1.00050 ± 0.00050"],
        ["Average rank", "1.00", "2.00", "–", "–"],
    ]
    jet = next(row for row in texts(profile_table(found)) if row[0] == "jet")
    assert jet[1:5] == ["1 of 3", "1 of 3", "1 of 3", "–"]


def test_arms_of_different_data_sets_alone_are_not_ranked(of):
    found = over_data_sets([of("a", {"vae": 2.0, "glow": 1.9}), of("b", {"jet": 2.0}), of("c", {"vae": 3.0})])
    assert found.ranked == []
    assert found.test is None
    assert headline(found) == "No two arms were measured on all 3 data sets: none are ranked."
    assert all("rank" not in " ".join(cell.notes) for row in likelihoods(found).rows for cell in row)


def test_one_data_set_is_nothing_to_compare_over(of):
    found = over_data_sets([of("a", {"vae": 2.0, "glow": 1.9})])
    assert headline(found) == "There are no two data sets to compare arms over."
    assert found.ranked == []


def test_the_profiles_are_in_two_sentences(of):
    times = ({"vae": 1, "glow": 5.0}, {"vae": 1, "glow": 4.0}, {"vae": 1.5, "glow": 1.0})
    levels = ({"vae": 2.0, "glow": 1.0}, {"vae": 2.0, "glow": 2.1}, {"vae": 4.0, "glow": 2.0})
    found = over_data_sets(
        [of(f"d{i}", each, factor=time, seeds=1) for i, (each, time) in enumerate(zip(levels, times, strict=True))]
    )
    assert profile_sentences(found) == [
        "Glow has the lowest bits/dim on 2 of 3 data sets; Glow is at most 5.0% above that; VAE is at most 100% above "
        "that.",
        "VAE has the shortest training on 2 of 3 data sets; VAE is at most 1.50× that; Glow is at most 5.0× that.",
    ]


def test_studies_of_the_same_data_or_of_none_are_refused(of):
    same = [of("a", {"vae": 2.0}), of("b", {"vae": 2.0}), of("copy", {"vae": 2.1}, digest="a")]
    with pytest.raises(SettingsError, match=r"s-a-a and s-copy-a are both of copy: of more than two studies give one"):
        over_data_sets(same)
    unknown = of("a", {"vae": 2.0})
    unknown.results.dataset["digest"] = None
    with pytest.raises(SettingsError, match="s-a-a does not say which data it is of"):
        over_data_sets([unknown, of("b", {"vae": 2.0})])


def test_a_study_whose_likelihoods_have_several_units_is_left_out(of):
    mixed = of("mixed", {"vae": 2.0, "glow": 1.9})
    frame = mixed.results.measurements
    frame.loc[(frame["arm"] == "vae") & (frame["metric"] == "bits_per_dim"), "unit"] = "nats"
    found = over_data_sets([of("a", {"vae": 2.0, "glow": 1.9}), mixed, of("b", {"vae": 2.0, "glow": 1.9})])
    assert list(found.studies) == ["a", "b"]
    assert details(found)[0] == "mixed is left out: its likelihoods stand in bits/dim and nats, and have no order."


def test_data_sets_of_one_name_are_numbered(of):
    found = over_data_sets([of("pets", {"vae": 2.0, "glow": 3.0}, digest=digest) for digest in ("1", "2")])
    assert list(found.studies) == ["1. pets", "2. pets"]


def test_one_name_for_two_families_is_said(study, of):
    def named(family, name):
        results = study({"small": [2.0], "glow": [3.0]}, families={"small": family}).results()
        results.dataset["name"] = results.dataset["digest"] = name
        return Study(results)

    found = over_data_sets([named("vae", "a"), named("jet", "b")])
    assert details(found)[-1] == "small is of different families on different data sets: vae and jet."
