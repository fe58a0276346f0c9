"""``reparam-bench compare`` over studies of several data sets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.results import Bound, BoundKind, Measurement, RunState
from bench.data.bundled import DIGITS
from bench.study.config import RunConfig, TrainingConfig
from bench.tracking.opening import open_study
from bench.tracking.schema import StudyDescription
from bench.tracking.tracker import Tracker
from models.glow.config import GlowConfig
from models.vae.config import VAEConfig

MODELS = {"vae": VAEConfig(), "glow": GlowConfig()}
LEVELS = {
    "small": {"vae": 2.1, "glow": 1.9},
    "middle": {"vae": 3.1, "glow": 2.9},
    "large": {"vae": 4.1, "glow": 3.9},
    "lonely": {"vae": 1.0},
}


TEXTS = {
    "s-play": {"kind": "text", "encoding": "characters", "symbols": ("a", "b")},
    "s-file": {"kind": "text", "encoding": "bytes"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An output folder with a study of each data set, each arm with one final run; one is of the same data again."""
    folder = tmp_path_factory.mktemp("data_sets") / "runs"
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "outbox")
    folder.mkdir()
    for study_id, name in [
        *((f"s-{name}", name) for name in LEVELS),
        ("again-small", "small"),
        *((study_id, "large") for study_id in TEXTS),
    ]:
        arms = LEVELS[name]
        kind = TEXTS.get(study_id, {})
        parent = open_study(
            tracker,
            StudyDescription(
                study_id=study_id,
                name="s",
                question="Which?",
                arms={arm: arm for arm in arms},
                swept={arm: [] for arm in arms},
                settings={},
                provenance={"commit": "0" * 40},
                dataset=replace(DIGITS, name=study_id.removeprefix("s-") if kind else name, **kind),
                digest=study_id if kind else name * 8,
            ),
        )
        for arm, value in arms.items():
            config = RunConfig(model=MODELS[arm], training=TrainingConfig(), dataset_digest=name, backend="jax")
            run = parent.start_run(f"{arm} final", "final", arm, 0, config)
            bound = Bound(BoundKind.IMPORTANCE_WEIGHTED, 16)
            run.log_measurements([Measurement("test", "bits_per_dim", value, 0.01, 179, bound)])
            run.finish(RunState.COMPLETE)
    assert tracker.drain() == 0
    return folder


def pages(store):
    return sorted(path.relative_to(store / "reports").as_posix() for path in store.glob("reports/*/compare.*"))


@pytest.mark.usefixtures("undrawn_here")
def test_three_studies_are_compared_over_their_data_sets(cli, store):
    code, out, err = cli("compare", "s-small", "s-mid", "s-large", "--output", str(store))
    assert (code, err) == (0, "")
    lines = out.replace("\u00a0", " ").splitlines()
    assert lines[0] == (
        "Over 3 data sets Glow has the lowest average rank, 1.00, but no difference between arms is established "
        "(Friedman's test, p = 0.250)."
    )
    assert "6 data sets could" in lines[1]
    kind = "8 × 8 × 1, 17 grey levels"
    rows = [" ".join(line.split()) for line in lines[-6:-1]]
    assert rows == [
        "data set Glow VAE",
        f"small, {kind} 1.900 ± 0.010, rank 1 2.100 ± 0.010, rank 2",
        f"middle, {kind} 2.900 ± 0.010, rank 1 3.100 ± 0.010, rank 2",
        f"large, {kind} 3.900 ± 0.010, rank 1 4.100 ± 0.010, rank 2",
        "Average rank 1.00 2.00",
    ]
    page = store / "reports" / lines[-1].split("/reports/")[1]
    assert page.name == "compare.html"
    assert page.parent.name.startswith("compare-3-data-sets-")
    # In another order it is the same comparison.
    assert cli("compare", "s-large", "s-small", "s-middle", "--output", str(store))[1].splitlines()[-1] == lines[-1]


def test_two_studies_of_two_data_sets_are_a_table_without_a_test(cli, store):
    code, out, err = cli("compare", "s-small", "s-large", "--output", str(store))
    assert (code, err) == (0, "")
    assert "No test over 2 data sets can say which arm is better in general" in out
    assert "compare-2-data-sets-" in out.splitlines()[-1]


def test_two_studies_of_the_same_data_are_compared_as_one_before_and_one_after(cli, store):
    _, out, _ = cli("compare", "s-small", "again", "--output", str(store))
    assert out.splitlines()[-1].endswith("reports/compare-s-small-again-small/compare.md")
    assert "VAE: the change in test bits/dim" in out


def test_studies_without_two_common_arms_are_no_success(cli, store):
    code, out, err = cli("compare", "s-small", "s-lonely", "--output", str(store))
    assert code == 3
    assert out.splitlines()[-1].endswith("compare.html")
    assert err == ("warning: nothing can be compared: No two arms were measured on all 2 data sets: none are ranked.\n")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["s-small", "s-large", "again"], "error: s-small and again-small are both of small: of more than two studies"),
        (["s-small", "s-large", "s-sm"], "error: 's-small' and 's-sm' are the same study, s-small: give two, or"),
        (["s-small", "s-play"], "error: small is images, in bits/dim, and play is text, in bits/character: no"),
        (
            ["s-file", "s-play"],
            "error: file is text, in bits/byte, and play is text, in bits/character: no ranking holds both units",
        ),
        (
            ["s-play", "s-small", "s-large"],
            "error: play is text, in bits/character, and small is images, in bits/dim: no",
        ),
        (["s-small", "s-large", "s-gone"], "error: no study 's-gone' in "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_studies_that_cannot_stand_together_are_refused_in_one_line(cli, store, names, message):
    before = pages(store)
    code, out, err = cli("compare", *names, "--output", str(store))
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert len(err.splitlines()) == 1
    assert pages(store) == before


def test_a_link_in_place_of_the_page_is_not_followed(cli, store, tmp_path):
    _, out, _ = cli("compare", "s-middle", "s-large", "--output", str(store))
    folder = store / "reports" / out.splitlines()[-1].split("/reports/")[1].partition("/")[0]
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    code, out, err = cli("compare", "s-middle", "s-large", "--output", str(store))
    assert (code, out) == (2, "")
    assert f"{folder.name} is a link to {elsewhere}" in err
    assert before == {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    folder.unlink()
