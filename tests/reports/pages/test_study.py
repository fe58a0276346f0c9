"""The written report: whole, true to the frames, safe with foreign text, and the same every time."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from bench.core.metrics import METRICS, Metric
from bench.core.results import HISTORY_COLUMNS, MEASUREMENT_COLUMNS, RUN_COLUMNS, TABLES, ImageGrid
from reports import write_report
from reports.analysis import differences, statistics
from reports.analysis.results import Study
from reports.formatting import NO_BREAK
from reports.text import comparison_tables
from tests.reports.conftest import SEPARATED, whole

DATA = {"application/json", "application/octet-stream"}
VOID = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = "<script>alert('x')</script> \"quoted\" | `tick` $math$ [a](javascript:1)\n# line 😀 שלום \u202egnp.exe \x00"

OF_IMAGES = [name for name in TABLES if name != "sequences"]
"""Tables that runs on images leave."""


class Page(HTMLParser):
    """Collects what the checks need, and notes every tag that is not closed as it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings: list[int] = []
        self.tags: list[str] = []
        self.images_without_alt = 0
        self.text = ""
        self.scripts: list[str] = []
        self.policy = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts += [] if known.get("type") in DATA else [""]
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(known["content"])
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img" and not known.get("alt"):
            self.images_without_alt += 1
        self.ids += [known["id"]] if known.get("id") else []
        self.references += [known[name] for name in ("src", "href", "xlink:href", "action", "data") if known.get(name)]
        self.faults += [f"{tag} {name}" for name in known if name.startswith("on")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            if self.scripts:
                self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data


def read(results, folder: Path, pdf: bool = False) -> tuple[Page, str, str]:
    """Write a report, and read it."""
    return checked(write_report(results, folder, pdf=pdf), results)


def checked(paths, results) -> tuple[Page, str, str]:
    """The pages of a report, of which all holds that holds of each."""
    folder = paths.html.parent
    html, markdown = paths.html.read_text("utf-8"), paths.markdown.read_text("utf-8")
    page = Page(html)
    assert not page.faults
    assert not page.open
    assert len(page.ids) == len(set(page.ids))
    assert page.scripts == [(Path(reports.__file__).parent / "templates" / "page.js").read_text("utf-8")]
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.policy
    assert "default-src 'none'" in page.policy
    assert page.images_without_alt == 0
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert paths.html.stat().st_size < 6_000_000
    inside = {f"#{name}" for name in page.ids}
    runs = set(results.runs["url"]) if "url" in results.runs else set()
    for reference in page.references:
        known = reference in inside or reference in runs or reference.startswith("data:image/png;base64,")
        assert known or (folder / reference).exists(), reference
    for target in re.findall(r"!\[(?:\\.|[^]\\])*\]\(([^)]*)\)", markdown):
        assert (folder / target).is_file()
    for path in (paths.answer, paths.latex, paths.references):
        assert path.name in page.references
        assert f"[{path.name}]({path.name}): " in markdown
    for path in paths.pdf_figures:
        assert f"[PDF]({path.relative_to(folder)})" in markdown
    assert ("figures/" in page.references) == bool(paths.pdf_figures)
    return page, html, markdown


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of a finished study, with PDF: the tests read it alone."""
    return write_report(whole(SEPARATED).results(), tmp_path_factory.mktemp("report"))


def test_report_of_a_finished_study(finished, written):
    page, html, markdown = checked(written, finished)
    assert (
        html.index('id="answer"')
        < html.index('id="budgets"')
        < html.index('id="comparison"')
        < html.index('id="trials"')
    )
    for text in (page.text.replace(NO_BREAK, " "), markdown):
        assert "has the lower test bits/dim on digits at this budget, so far" in text
        assert "Course of training of the final runs" in text
        assert "1.9733 ± 0.0088" in text
        assert "92.36 ± 0.79 k images/s" in text
        assert "1.25 M" in text
        assert "importance-weighted bound, k=64" in text
        assert "python studies/vae_vs_glow.py --dataset digits --trials 24 --seed 0" in text
        assert "6704154c0ffee" in text
    # The answer, two costs, one trade-off, four responses, two importances, two budgets, three figures of learning
    # curves and one of their forecast.
    assert page.tags.count("svg") == 16
    assert "could not be drawn" not in page.text
    assert page.tags.count("img") == 4
    assert page.tags.count("main") == page.tags.count("header") == page.tags.count("footer") == 1


def test_report_of_all_that_a_run_measures(measured, tmp_path):
    page, _, markdown = read(measured, tmp_path)
    for text in (page.text.replace(NO_BREAK, " "), markdown):
        assert "seeds: 95% interval 1.935 to 2.011" in text
        assert "images: standard error 0.016" in text
        assert "bound: Monte Carlo error 0.00040" in text
        assert "Posterior collapse: 12 of 32 latents of VAE are active" in text
        assert "Holm" in text
        assert "KL to the prior of each latent, seed 0" in text
        assert "Interpolations between held-out images" in text
        assert "tables/likelihood_by_image.csv" in text.replace("\\", "")
        assert " wins" not in text
    # The answer, two costs and test at shares of the budget, two trade-offs, four responses, two importances, three
    # learning curves and their forecast, two budgets, two bounds, and the latents.
    assert page.tags.count("svg") == 21
    assert "could not be drawn" not in page.text
    assert sorted(path.stem for path in (tmp_path / "tables").iterdir()) == sorted(OF_IMAGES)
    for name in OF_IMAGES:
        columns = TABLES[name]
        stored = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert list(stored.columns) == ["run_id", *columns]
        assert len(stored) == len(measured.tables[name])


def test_numbers_under_different_conditions_share_no_row(study):
    builder = study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]}, measured=True)

    def rows():
        groups = dict(comparison_tables.comparison(Study(builder.results())))
        assert not any("of real images" in row.label for rows in groups.values() for row in rows)
        return [row for row in groups["Sample quality"] if row.label == "Kernel distance (KID)"]

    one, other = rows()
    assert (one.notes, other.notes) == (["classifier features", "n = 1,000"], ["random features", "n = 1,000"])
    for cell in one.cells:
        assert [note.replace(NO_BREAK, " ") for note in cell.notes] == ["real data: 2.00 ± 0.20 × 10⁻⁴"]
    for row in builder.measurements:
        if row["metric"] == "kid" and row["family"] == "vae":
            row["n"] = 500
    split = rows()
    assert [row.notes[1] for row in split] == ["n = 500", "n = 500", "n = 1,000", "n = 1,000"]
    assert all([cell.text for cell in row.cells].count("not measured") == 1 for row in split)


def test_results_from_before_the_new_columns_still_give_a_report(finished, tmp_path):
    old = finished.measurements.drop(columns=["monte_carlo_error", "conditions"])
    page, _, _ = read(dataclasses.replace(finished, measurements=old), tmp_path)
    assert "The final runs have left no diagnostics yet." in page.text
    assert "real data: " in page.text


def test_counts_in_the_page_are_those_of_the_frame(finished, written):
    markdown = written.markdown.read_text("utf-8")
    runs = finished.runs
    table = markdown[markdown.index("### Runs by how they ended") :]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:8]]
    for family, name in (("vae", "VAE"), ("glow", "Glow")):
        trials = runs[(runs["family"] == family) & (runs["role"] == "search")]
        row = dict(zip(head, next(row for row in rows if row[0] == f"{name} trials"), strict=True))
        for state in ("complete", "pruned", "diverged", "out_of_memory", "failed", "interrupted", "running"):
            assert int(row[state.replace("_", " ")]) == (trials["state"] == state).sum() > 0
        assert int(row["all"]) == len(trials)


def test_reasons_are_shown(written):
    page = Page(written.html.read_text("utf-8"))
    for reason in ("the loss became NaN at step 41", "ValueError: latent_size must be positive", "SIGINT"):
        assert reason in page.text


def test_csv_files_hold_the_frames(finished, written):
    paths = written
    assert paths.tables == ()
    for path, frame, columns in (
        (paths.measurements, finished.measurements, MEASUREMENT_COLUMNS),
        (paths.runs, finished.runs, RUN_COLUMNS),
        (paths.histories, finished.histories, HISTORY_COLUMNS),
    ):
        stored = pd.read_csv(path)
        assert list(stored.columns[: len(columns)]) == columns
        assert len(stored) == len(frame)
        binary = pd.read_parquet(path.with_suffix(".parquet"))
        assert list(binary.columns) == list(stored.columns)
        assert len(binary) == len(frame)
    np.testing.assert_allclose(pd.read_csv(paths.measurements)["value"], finished.measurements["value"].astype(float))


def test_same_results_give_the_same_bytes(finished, written, tmp_path):
    write_report(finished, tmp_path)
    folder = written.html.parent
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(files) == 13 + 2 * len(written.figures) + len(written.figure_numbers) + len(written.images)
    assert len(written.pdf_figures) == len(written.figures)
    for path in files:
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


@pytest.mark.slow
def test_a_longer_study_says_how_good_its_forecast_was(finished, tmp_path):
    histories = finished.histories.assign(images=finished.histories["images"] / 2)
    more = histories[histories["step"] > 2].assign(
        step=lambda frame: frame["step"] + 10, images=lambda frame: 500 * (frame["step"])
    )
    level = more["run_id"].map(histories[histories["step"] == 12].set_index("run_id")["value"]) - 1.4 / 12
    longer = dataclasses.replace(
        finished, histories=pd.concat([histories, more.assign(value=level + 1.4 / more["step"])])
    )
    first = write_report(dataclasses.replace(finished, histories=histories), tmp_path)
    stored = pd.read_csv(first.forecasts)
    assert set(stored["made_at"]) == {6000.0}
    assert "earlier forecast" not in first.markdown.read_text("utf-8")
    again = write_report(longer, tmp_path)
    kept = pd.read_csv(again.forecasts)
    assert kept.head(len(stored)).equals(stored)
    assert set(kept["made_at"].iloc[len(stored) :]) == {11_000.0}
    for text in (Page(again.html.read_text("utf-8")).text, again.markdown.read_text("utf-8")):
        # 1.25 and 1.5 times 6,000 images have been reached, and not twice.
        assert "The earlier forecast of Glow, made at" in text
        assert "forecasts.csv" in text.replace("\\", "")
    assert write_report(longer, tmp_path).forecasts.read_bytes() == again.forecasts.read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_file_of_forecasts_is_moved_aside_with_a_warning(finished, tmp_path, caplog):
    path = tmp_path / "forecasts.csv"
    path.write_text("arm,made_at\nglow,\n")
    written = write_report(finished, tmp_path)
    assert "forecasts.csv held no forecasts of earlier reports and was moved to" in caplog.text
    assert (tmp_path / "forecasts.damaged.csv").read_text() == "arm,made_at\nglow,\n"
    assert len(pd.read_csv(written.forecasts)) > 0


def test_writing_again_replaces_and_leaves_no_temporary_file(finished, written, tmp_path):
    shutil.copytree(written.html.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "report.html").write_text("old")
    stale, listed = tmp_path / "figures" / "response-9-vae-beta.svg", tmp_path / "files.json"
    stale.write_text("of a sweep that is no more")
    listed.write_text(json.dumps([*json.loads(listed.read_text()), "figures/response-9-vae-beta.svg"]))
    write_report(finished, tmp_path)
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert not list(tmp_path.rglob("*.tmp"))
    assert not stale.exists()


@pytest.mark.parametrize(
    "listed", [None, "[", "{}", '["../mine.txt", "/mine.txt", "a/../../mine.txt", 1, "images/.."]']
)
def test_files_of_anybody_else_stay(empty, tmp_path, listed):
    folder = tmp_path / "paper"
    others = [tmp_path / "mine.txt", folder / "images" / "cat.png", folder / "figures" / "plot.v2" / "a.pdf"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    for _ in range(2):
        if listed is not None:
            (folder / "files.json").write_text(listed)
        write_report(empty.results(), folder)
        assert [path.read_text() for path in others] == ["mine"] * 3


def test_pdf_figures_can_be_left_out(finished, written, tmp_path):
    before = written
    assert before.pdf_figures
    for path in before.pdf_figures:
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert not any(word in content for word in (b"CreationDate", b"/Type3"))
    shutil.copytree(before.html.parent, tmp_path, dirs_exist_ok=True)
    after = write_report(finished, tmp_path, pdf=False)
    assert after.pdf_figures == ()
    assert not [*tmp_path.rglob("*.pdf")]
    assert "[PDF]" not in after.markdown.read_text("utf-8")
    assert [path.read_bytes() for path in before.figures] == [path.read_bytes() for path in after.figures]


@pytest.mark.parametrize("levels", [{"vae": [2.3]}, {"vae": [2.3, 2.4], "glow": []}, {"vae": [], "glow": []}])
def test_partial_studies(study, levels, tmp_path):
    read(study(levels).results(), tmp_path)


@pytest.mark.parametrize("frame", [None, pd.DataFrame()])
def test_no_runs(empty, frame, tmp_path):
    known = {} if frame is None else {"runs": frame, "measurements": frame, "histories": frame}
    page, _, markdown = read(empty.results(**known), tmp_path)
    for text in (page.text, markdown):
        assert "No run has been logged yet, so there is no answer." in text


def test_nothing_known_at_all(empty, tmp_path):
    read(empty.results(swept={}, dataset={}, settings={}, provenance={}, question="", name="x"), tmp_path)


def test_no_finite_value_anywhere(empty, tmp_path):
    for number, value in enumerate([np.nan, np.inf, -np.inf]):
        run = empty.run("vae", "search", number=number, param_latent_size=2**number, param_learning_rate=np.nan)
        empty.measure(run, "validation", "bits_per_dim", value)
        empty.history(run, [value])
    empty.final("vae", 0, np.nan)
    results = empty.results()
    page, _, _ = read(results, tmp_path)
    assert "★ 3 complete without a finite value" in page.text
    assert int(statistics.states(results.runs).at["vae", "complete"]) == 4


def hostile(builder):
    for row in builder.runs:
        row["name"] = row["reason"] = HOSTILE
        row["url"] = "javascript:alert(1)"
    family = "<b>évil|fam\u202e"
    for number in range(4):
        run = builder.run(
            family, "search", number=number, url="https://a.b/|)> <x>\"'", **{f"param_{HOSTILE}": HOSTILE}
        )
        builder.measure(run, "validation", "bits_per_dim", 2.0 + number, unit=HOSTILE)
        builder.history(run, [3.0, 2.0 + number])
    strange = builder.run(family, "search", HOSTILE, number=9, reason=HOSTILE, **{f"param_{HOSTILE}": 3})
    builder.history(strange, [3.0])
    final = builder.final(family, 0, 2.0, **{f"param_{HOSTILE}": HOSTILE})
    builder.measure(final, "quality", HOSTILE, 1.0)
    builder.measure(final, "quality", "kid", 1.0, conditions=HOSTILE)
    builder.measure(final, "out_of_distribution", "auroc", 0.1, conditions=HOSTILE, standard_error=0.01)
    for image in list(builder.images):
        builder.images.append(ImageGrid(image.run_id, image.arm, f"../{HOSTILE}", HOSTILE, image.png))
    return builder.results(
        swept={"vae": ["latent_size"], "glow": ["flow_depth"], family: [HOSTILE]},
        study_id=HOSTILE,
        name=HOSTILE,
        question=HOSTILE,
        dataset={"name": HOSTILE, HOSTILE: HOSTILE},
        settings={HOSTILE: [HOSTILE]},
        provenance={"command": f"```\n{HOSTILE}", "versions": {HOSTILE: HOSTILE}},
    )


def test_foreign_text_shows_as_text(study, tmp_path):
    results = hostile(study({"vae": [2.3, 2.4], "glow": [2.0, 2.1]}))
    paths = write_report(results, tmp_path, pdf=False)
    page, html, markdown = checked(paths, results)
    assert "<script>alert('x')</script> \"quoted\" | `tick` $math$ [a](javascript:1)" in page.text
    assert "😀 שלום" in page.text
    for text in (html, markdown):
        assert "\u202e" not in text
        assert "\x00" not in text
        assert 'href="javascript' not in text
    outside_fences = re.sub(r"^(`{3,})text\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "````text\n```\n<script>" in markdown
    assert "<script" not in outside_fences
    assert "\\[a\\](javascript:1)" in outside_fences
    assert not re.search(r"(?<!\\)`", outside_fences)
    table_lines = [line for line in outside_fences.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in table_lines)
    assert not re.search(r"^# line", outside_fences, re.MULTILINE)
    assert {path.resolve().parent.name for path in paths.images} == {"images"}


@pytest.mark.usefixtures("undrawn_here")
def test_only_web_addresses_become_links(study, tmp_path):
    builder = study({"vae": [2.3]})
    addresses = ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//host/x", "http://[bad", "", None]
    for row, url in zip(builder.runs, addresses, strict=False):
        row["url"] = url
    page, _, markdown = read(builder.results(), tmp_path)
    own = {"answer.json", "tables.tex", "references.bib", "figures/"}
    links = [reference for reference in page.references if not reference.startswith(("#", "data:image/png"))]
    links = [link for link in links if link not in own]
    assert links
    assert all(link.startswith("http://127.0.0.1:5000/") for link in links)
    assert "](<javascript" not in markdown


@pytest.mark.usefixtures("no_figures")
def test_large_pictures_stay_beside_the_page(study, tmp_path):
    builder = study({"vae": [2.3], "glow": [2.0]})
    grown = [ImageGrid(i.run_id, i.arm, i.kind, i.caption, i.png + b"\0" * 1_000_000) for i in builder.images]
    page, _, _ = read(builder.results(images=grown), tmp_path)
    assert page.tags.count("img") == 1
    assert page.text.count("Too large for this page") == 3
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_report_imports_no_framework(tmp_path):
    code = (
        "import sys, reports\n"
        "print(len([name for name in sys.modules if name.startswith('reports')]))\n"
        "reports.write_report, reports.register_figure\n"
        "forbidden = {'keras', 'tensorflow', 'jax', 'mlflow', 'optuna', 'torch'}\n"
        "print(sorted(forbidden & {name.partition('.')[0] for name in sys.modules}))\n"
        "print({name for name in sys.modules if name.startswith('bench.') and not name.startswith('bench.core')})"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "[]", "set()"]


@pytest.mark.slow
def test_four_arms_of_two_families(four, tmp_path):
    page, html, markdown = read(four, tmp_path)
    assert "could not be drawn" not in page.text
    for arm, family in four.arms.items():
        assert f"| {arm} trials |" in markdown
        assert f"{arm} ({'VAE' if family == 'vae' else 'Glow'}, 3 final runs) |" in markdown
        assert f"All trials of {arm}" in page.text
    for name in ("vae", "vae-shade-2", "glow", "glow-shade-2"):
        assert html.count(f'<span class="{name}"') == 1
        assert f"--{name}: #" in html
    frame = pd.read_csv(tmp_path / "measurements.csv")
    assert set(frame["arm"]) == set(four.arms)
    # Two VAEs have latents, two Glows have not.
    assert {path.stem for path in (tmp_path / "figures").glob("latents-*.svg")} == {"latents-1-dense", "latents-2-conv"}
    assert {len(row.cells) for _, rows in comparison_tables.comparison(Study(four)) for row in rows} == {4}


@pytest.mark.slow
def test_ten_arms(study, tmp_path):
    arms = {f"arm-{i}": ("vae", "glow", "made")[i % 3] for i in range(10)}
    results = study({arm: [2.0 + 0.01 * i] for i, arm in enumerate(arms)}, families=arms).results()
    page, _, _ = read(results, tmp_path)
    assert "10. arm-9 at" in page.text.replace(NO_BREAK, " ")
    assert "arm-9 trials" in page.text


@pytest.mark.usefixtures("undrawn_here")
def test_an_arm_without_a_run_has_a_column(finished, tmp_path):
    arms = {"absent": "made", **finished.arms}
    page, _, _ = read(dataclasses.replace(finished, arms=arms, swept={"absent": [], **finished.swept}), tmp_path)
    assert "absent" in page.text
    assert "0 final runs" in page.text


@pytest.mark.usefixtures("undrawn_here")
def test_runs_that_name_no_arm_go_by_their_family(finished, tmp_path):
    runs, measurements = finished.runs.drop(columns="arm"), finished.measurements.drop(columns="arm")
    page, _, _ = read(dataclasses.replace(finished, runs=runs, measurements=measurements), tmp_path)
    assert "has the lower test bits/dim on digits" in page.text


@pytest.mark.usefixtures("no_figures")
def test_metrics_of_users_have_a_row_in_the_section_of_their_group(study, tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "sharpness", Metric("sharpness", "Sharpness", "dB", True, "Mean power at the edges."))
    builder = study({"vae": [2.3, 2.4, 2.35], "glow": [2.0, 2.1, 2.05]})
    for run in [run for run in builder.runs if run["role"] == "final"]:
        value = 1.0 + 0.1 * int(str(run["seed"])) + (run["arm"] == "vae")
        builder.measure(run, "quality", "sharpness", value)
        builder.measure(run, "my_group", "unheard_of", 7.0 + value, unit="px", higher_is_better=False)
    known = Study(builder.results())
    groups = dict(comparison_tables.comparison(known))
    (sharpness,) = [row for row in groups["Sample quality"] if row.label == "Sharpness"]
    assert (sharpness.unit, sharpness.direction, sharpness.definition) == (
        "dB",
        "higher is better",
        "Mean power at the edges.",
    )
    (other,) = groups["My group"]
    assert (other.label, other.unit, other.direction) == ("unheard_of", "px", "lower is better")
    assert {d.metric for d in differences.differences(known)} >= {"sharpness", "unheard_of"}
    page, _, markdown = read(known.results, tmp_path)
    for text in (page.text, markdown):
        assert "Mean power at the edges." in text
        assert "unheard" in text
