"""Texts are in the unit of the data; the data themselves are as they are."""

from __future__ import annotations

from reports.analysis.literature import published
from reports.pages.document import Glossary, Passages
from reports.units import in_unit_of

TEXT = {"encoding": "characters", "kind": "text"}


def test_titles_and_sentences_are_in_the_unit_and_passages_are_not_changed() -> None:
    glossary, passages = Glossary([("Bits/dim", "bits/dim")]), Passages("Real bits/dim", "", ["bits/dim of a README"])
    assert in_unit_of(TEXT, glossary) == Glossary([("Bits/character", "bits/character")])
    found = in_unit_of(TEXT, passages)
    assert (found.name, found.texts) == ("Real bits/character", ["bits/dim of a README"])
    assert in_unit_of({"kind": "image"}, glossary) is glossary


def test_a_text_or_a_sound_of_a_data_set_s_name_has_no_published_likelihoods_of_images() -> None:
    known = {"name": "mnist", "grey_levels": 256}
    assert published(known)
    assert published(known | {"kind": "image"}) == published(known)
    assert published(known | {"kind": "text"}) == published(known | {"kind": "audio"}) == []
