"""references.bib: well formed, whole for what a report names, and without what it does not."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from bench.core.metrics import METRICS
from reports.analysis.literature import RESULTS
from reports.analysis.results import Study
from reports.exports import bibtex
from reports.exports.bibtex import all_entries, named, references
from reports.text import data_sets, method

ROOT = Path(__file__).resolve().parents[3]
NAME = r"(?:van (?:den )?)?[A-ZÅÖØ][\w-]+"
MENTION = re.compile(rf"({NAME}(?:, {NAME})*(?: et al\.| (?:&|and) {NAME})?) \(?((?:19|20)\d\d)\b")
"""A work within a sentence: its authors and its year."""


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def test_entries_are_well_formed_and_all_can_be_cited():
    entries = all_entries()
    tables = (bibtex.DEQUANTISATIONS, bibtex.OPTIMIZERS, bibtex.SAMPLERS, bibtex.PRUNERS, bibtex.NAMED)
    used = {*bibtex.SOFTWARE, *(key for table in tables for key in table.values())}
    used |= {key for family in bibtex.FAMILIES.values() for key in family}
    assert used == set(entries)
    text = "\n\n".join(entries.values())
    assert keys(text) == list(entries)
    assert sorted(list(entries)[1:]) == list(entries)[1:]
    for key, entry in entries.items():
        assert entry.count("{") == entry.count("}"), key
        assert entry.isascii(), key
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.MULTILINE))
        assert len(fields) == len(entry.splitlines()) - 2, key
        assert {"title", "author"} <= set(fields), key
        year = re.search(r"(?:19|20)\d\d", key)
        assert fields.get("year", "") == (year[0] if year else ""), key
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.5678")), key


def test_names_in_titles_keep_their_capitals_in_any_style():
    for key, entry in all_entries().items():
        assert not re.search(r"(?m)^  title = .*(?<!\{)\b(Optuna|Keras|Glow|Jet|Adam|1x1)\b", entry), key
        assert entry.startswith(("@article", "@book", "@inproceedings", "@misc", "@phdthesis", "@techreport")), key


def test_years_and_authors_are_those_of_the_mentions():
    for mention, key in bibtex.NAMED.items():
        entry, year = all_entries()[key], re.search(r"\d{4}$", mention)
        author = re.sub(r"\\[a-z](?=\{)|[{}\\'`\"]", "", re.search(r"author = \{(.*)\},", entry)[1])
        first = re.split(r" et al| &| and|,|'s| 1| 2", mention)[0].removeprefix("van den ").removeprefix("van ")
        plain = first.translate(str.maketrans({"ń": "n", "ä": "a", "ø": "o", "Ø": "O", "š": "s"}))
        assert plain in author or f"{plain[:5]}" in author, (mention, author)
        if year and mention != "Hoogeboom et al. 2020":
            assert f"year = {{{year[0]}}}" in entry, mention


def test_arxiv_addresses_of_the_literature_are_those_of_the_entries():
    for each in [each for rows in RESULTS.values() for each in rows]:
        (key,) = named(each.source)
        number = re.search(r"arxiv\.org/abs/([\d.]+)", each.url)
        assert number is None or f"eprint = {{{number[1]}}}" in all_entries()[key], each.source


def test_every_work_that_a_report_may_name_has_an_entry():
    texts = [text for _, text in method.NOTES] + [metric.definition for metric in METRICS.values()]
    texts += [each.source for rows in RESULTS.values() for each in rows]
    texts += [path.read_text("utf-8") for path in (ROOT / "bench/data").glob("*.py")]
    texts += [path.read_text("utf-8") for path in (ROOT / "reports/analysis/findings").glob("*.py")]
    texts += [text for _, text in (*data_sets.RANKS, *data_sets.TESTS)]
    mentions = {f"{authors} {year}" for text in texts for authors, year in MENTION.findall(text)}
    assert len(mentions) > 30
    assert {mention for mention in mentions if not named(mention)} == set()


@pytest.mark.slow
def test_a_study_cites_what_its_report_names_and_its_runs_rest_on(study):
    from reports.formatting import unescaped
    from reports.pages.study import page
    from reports.pages.templates import page_as_markdown

    def cited(results) -> set[str]:
        return set(keys(references([Study(results)], unescaped(page_as_markdown(page(results))))))

    one = study({"vae": [2.3, 2.31]}).results(swept={"vae": ["latent_size"]}, settings={"sampler": "random"})
    found = cited(one)
    assert {"reparam-bench", "kingma2014auto", "burda2016importance", "zaharia2018accelerating"} <= found
    assert not {"kingma2018glow", "theis2016note", "bergstra2011algorithms", "li2020system", "child2021very"} & found
    assert not {"grathwohl2019ffjord", "lecun1998mnist"} & found
    both = study({"vae": [2.3, 2.31], "glow": [2.0, 2.01]})
    for row in both.runs:
        row["param.optimizer"] = "adam"
    settings = {"sampler": "tpe", "pruner": "halving"}
    more = cited(both.results(settings=settings))
    assert more >= {"kingma2018glow", "theis2016note", "bergstra2011algorithms", "li2020system", "kingma2015adam"}
    mnist = {
        "name": "mnist",
        "grey_levels": 256,
        "source": "MNIST (LeCun, Cortes and Burges 1998), keras.datasets.mnist",
    }
    literature = cited(dataclasses.replace(one, dataset=mnist))
    assert {"grathwohl2019ffjord", "chen2019residual", "lippe2022uva", "lecun1998mnist"} <= literature


def test_the_project_s_own_entry_is_that_of_its_citation_file():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    entry = all_entries()["reparam-bench"]
    assert entry.startswith("@misc{")
    assert f"title = {{{cited['title']}}}" in entry
    assert f"version = {{{cited['version']}}}" in entry
    assert f"note = {{{cited['license']}}}" in entry
    assert f"author = {{{{{cited['authors'][0]['name']}}}}}" in entry


@pytest.mark.parametrize("family", ["vae", "glow", "autoregressive", "ladder_vae", "jet"])
def test_every_family_of_the_project_has_a_source(family):
    assert bibtex.FAMILIES[family]
