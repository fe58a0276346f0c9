"""``references.bib``: what a report names and the runs of its studies rest on, as BibTeX, and nothing else."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from bench.core.results import BoundKind
from reports.analysis.results import LIKELIHOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reports.analysis.results import Study

FILE = "all_references.bib"
SOFTWARE = ("reparam-bench", "akiba2019optuna", "chollet2015keras", "zaharia2018accelerating")
"""What every study runs on, this project first."""
NAMED: dict[str, str] = {
    "Benavoli et al. 2016": "benavoli2016should",
    "Benavoli et al. 2017": "benavoli2017time",
    "Bińkowski et al. 2018": "binkowski2018demystifying",
    "Burda et al. 2016": "burda2016importance",
    "Burda, Grosse & Salakhutdinov 2016": "burda2016importance",
    "Chen et al. 2018": "chen2018pixelsnail",
    "Chen et al. 2019": "chen2019residual",
    "Child 2021": "child2021very",
    "Chong & Forsyth 2020": "chong2020effectively",
    "Demšar 2006": "demsar2006statistical",
    "Dittadi, ladder-vae-pytorch": "dittadi-ladder-vae-pytorch",
    "Dolan & Moré 2002": "dolan2002benchmarking",
    "Domhan et al. 2015": "domhan2015speeding",
    "Friedman 1937": "friedman1937use",
    "Germain et al. 2015": "germain2015made",
    "Grathwohl et al. 2019": "grathwohl2019ffjord",
    "Hazami et al. 2022": "hazami2022efficient",
    "Hedges' g": "hedges1981distribution",
    "Hestness et al. 2017": "hestness2017deep",
    "Heusel et al. 2017": "heusel2017gans",
    "Ho et al. 2019": "ho2019flow",
    "Holm's method 1979": "holm1979simple",
    "Hoogeboom et al. 2020": "hoogeboom2021learning",
    "Hoogeboom et al. 2021": "hoogeboom2021learning",
    "Hutter et al. 2014": "hutter2014efficient",
    "Jackson et al. 2016": "jackson2016free",
    "Jain et al. 2020": "jain2020locally",
    "Jun et al. 2020": "jun2020distribution",
    "Kingma & Dhariwal 2018": "kingma2018glow",
    "Kingma et al. 2021": "kingma2021variational",
    "Kynkäänniemi et al. 2019": "kynkaanniemi2019improved",
    "Larochelle & Murray 2011": "larochelle2011neural",
    "Larochelle and Murray 2011": "larochelle2011neural",
    "LeCun, Cortes and Burges 1998": "lecun1998mnist",
    "Alpaydin and Kaynak 1998": "alpaydin1998digits",
    "Krizhevsky 2009": "krizhevsky2009learning",
    "Lin 1991": "lin1991divergence",
    "Lippe, UvA deep learning tutorials": "lippe2022uva",
    "Lourie et al. 2024": "lourie2024show",
    "Maaløe et al. 2019": "maaloe2019biva",
    "Mahoney 2006": "mahoney2006large",
    "Meehan et al. 2020": "meehan2020non",
    "Mikolov et al. 2012": "mikolov2012subword",
    "Naeem et al. 2020": "naeem2020reliable",
    "Nalisnick et al. 2019": "nalisnick2019deep",
    "Nemenyi 1963": "nemenyi1963distribution",
    "Salimans et al. 2017": "salimans2017pixelcnn",
    "Satterthwaite's": "satterthwaite1946approximate",
    "Song et al. 2021": "song2021score",
    "Tomczak & Welling 2018": "tomczak2018vae",
    "Vahdat & Kautz 2020": "vahdat2020nvae",
    "Wahba 1990": "wahba1990spline",
    "Welch's t": "welch1947generalization",
    "Xiao, Rasul and Vollgraf 2017": "xiao2017fashion",
    "van Amersfoort, Glow-PyTorch": "amersfoort-glow-pytorch",
    "van den Oord et al. 2016": "oord2016pixel",
}
"""By what a page calls a work, its year without brackets, the key of its entry."""
FAMILIES = {
    "autoregressive": ("oord2016pixel", "salimans2017pixelcnn"),
    "glow": ("kingma2018glow",),
    "jet": ("kolesnikov2024jet",),
    "ladder_vae": ("sonderby2016ladder", "child2021very"),
    "vae": ("kingma2014auto", "rezende2014stochastic"),
}
DEQUANTISATIONS = {
    "uniform": "theis2016note",
    "variational": "ho2019flow",
    "categorical": "lippe2021categorical",
}
OPTIMIZERS = dict.fromkeys(("adam", "adamax"), "kingma2015adam")
SAMPLERS = {"tpe": "bergstra2011algorithms"}
PRUNERS = {"halving": "li2020system"}


def references(studies: Iterable[Study], page: str) -> str:
    """The entries of what a report cites, by key.

    Args:
        studies: its studies, whose families, bounds, optimisers and search have sources of their own.
        page: its text, whose mentions are cited.
    """
    entries = all_entries()
    cited = {*SOFTWARE, *named(page), *(key for study in studies for key in _used(study))}
    return "\n".join(f"{entry}\n" for key, entry in entries.items() if key in cited)


def named(text: str) -> set[str]:
    """The keys of the works that a text names."""
    plain = re.sub(r"\((\d{4})\)", r"\1", text)
    return {key for name, key in NAMED.items() if name in plain}


@cache
def all_entries() -> dict[str, str]:
    """Every entry that the project knows, by its key, this project's own first."""
    text = resources.files("reports.exports").joinpath(FILE).read_text(encoding="utf-8")
    found = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in found}


def _used(study: Study) -> Iterator[str]:
    """The keys of what the arms and the search rest on."""
    for family in set(study.families.values()):
        yield from FAMILIES.get(family, ())
    for final in study.finals.values():
        likelihood = final.measured("test", LIKELIHOOD)
        kinds = set(likelihood["bound"].dropna().map(str))
        if BoundKind.IMPORTANCE_WEIGHTED_DEQUANTISATION in kinds:
            yield "hoogeboom2021learning"
        for noise in set(likelihood["dequantisation"].dropna().map(str)) & DEQUANTISATIONS.keys():
            yield DEQUANTISATIONS[noise]
    columns = [str(column) for column in study.runs if str(column).rpartition(".")[2] == "optimizer"]
    for column in columns:
        for name in set(study.runs[column].dropna().map(str)) & OPTIMIZERS.keys():
            yield OPTIMIZERS[name]
    settings = study.results.settings
    for known, setting in ((SAMPLERS, "sampler"), (PRUNERS, "pruner")):
        key = known.get(str(settings.get(setting)))
        if key is not None:
            yield key
