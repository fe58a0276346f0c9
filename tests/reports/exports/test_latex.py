"""LaTeX tables: they paste whatever names hold, and state the page's numbers."""

from __future__ import annotations

import dataclasses
import re

import pytest

from reports.analysis.results import Study
from reports.exports.latex import _SPECIAL, escape, latex_tables
from reports.formatting import NO_BREAK
from reports.text import comparison_tables
from reports.text.contents import Contents

HOSTILE = r"""a_b 50% & #1 $x$ ~ ^ \input{/etc/passwd} {c} [d] *e "f" <g> |h| \\ \end{table} 10⁻⁴ m² ± − × é"""
COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "textbackslash"),
    *("textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "ldots", "pm", "times", "infty"),
    *("surd", "to", "frac"),
}
SHOWN = {latex: text for text, latex in _SPECIAL.items()}


def check(text: str) -> list[list[list[str]]]:
    """Parse LaTeX of tables as far as braces, environments, commands and cells: the cells of each table's rows."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    open_ends: list[str] = []
    depth, mathematics, place = 0, False, 0
    while place < len(body):
        command = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL).match(body, place)
        if command:
            name = command[1]
            assert name in COMMANDS or name in set("\\{}$&#%_|"), name
            if name in ("begin", "end"):
                environment = re.compile(r"\{(\w+)\}").match(body, command.end())
                assert environment
                assert name == "begin" or open_ends.pop() == environment[1]
                open_ends += [environment[1]] * (name == "begin")
            place = command.end()
            continue
        character = body[place]
        depth += (character == "{") - (character == "}")
        assert depth >= 0
        mathematics ^= character == "$"
        if character in "#%_^" and not mathematics:
            start = body.rfind("\n", 0, place) + 1
            assert body[start:].startswith(r"\label{"), body[start : place + 20]
        place += 1
    assert (depth, mathematics, open_ends) == (0, False, [])
    found = []
    for inner in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        lines = [line.removesuffix(r" \\") for line in inner[1].splitlines() if line.endswith(r" \\")]
        rows = [re.split(r"(?<!\\) & ", line) for line in lines]
        assert {len(row) for row in rows} == {len(inner[0])}
        found.append(rows)
    return found


def shown(latex: str) -> str:
    """What escaped LaTeX shows."""
    powers = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    latex = re.sub(r"\$\^\{([-\d]+)\}\$", lambda found: found[1].translate(powers), latex)
    known = sorted(SHOWN, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, known)), lambda found: SHOWN[found[0]], latex)


def test_every_special_character_is_shown_and_none_acts():
    escaped = escape(HOSTILE)
    assert shown(escaped) == HOSTILE.replace("/etc/", "…/")
    check(escaped)
    assert not re.search(r"\\(input|end)\b", escaped)
    assert escape("a\n\n b\t\u2028c") == "a b c"
    assert escape("[x]").startswith("{[}")
    assert escape(f"2.31 ±{NO_BREAK}0.01") == r"2.31 $\pm$~0.01"
    assert "\u202e" not in escape("\u202e")
    assert "secret" not in escape("http://me:secret@host")


def test_the_tables_state_the_page_s_numbers(measured):
    contents = Contents(Study(measured))
    results, differences = check(latex_tables(contents))
    head, *rows = [[shown(cell) for cell in row] for row in results]
    assert head[:5] == ["Arm", "Test bits/dim", "95% interval", "Seeds", "Parameters"]
    assert {"Training time", "Training speed", "Sampling speed"} < set(head)
    page = {row.label: row for _, group in comparison_tables.comparison(contents.study) for row in reversed(group)}
    for place, (row, name) in enumerate(zip(rows, ("VAE", "Glow"), strict=True)):
        assert row[0] == name
        cell = page["Bits/dim"].cells[place]
        assert row[1] == cell.text
        assert f"seeds: 95% interval {row[2]}" in cell.folded
        assert row[3] == "3"
        for label, text in zip(head[4:], row[4:], strict=True):
            assert text == page[label.removesuffix(" (MMD²)")].cells[place].text
    table = comparison_tables.differences(contents.study, contents.differences)
    assert [[shown(cell) for cell in row[1:2]] for row in differences[1:]] == [[row[1].text] for row in table.rows]
    assert "importance-weighted dequantisation bound, k=16" in latex_tables(contents)


def test_reference_codes_have_a_table_of_their_own(finished):
    from bench.core.results import Measurement, ReferenceCodes

    codes = ReferenceCodes([Measurement("reference_codes", "code_png", 3.25, standard_error=0.011, n=360)])
    found = check(latex_tables(Contents(Study(dataclasses.replace(finished, reference_codes=codes)))))
    assert found[-1][1][:2] == ["PNG", r"3.250 $\pm$~0.011"]


@pytest.mark.parametrize("levels", [{}, {"vae": []}, {"vae": [2.3]}, {"vae": [2.3, 2.4], "glow": []}])
def test_partial_studies(study, levels):
    contents = Contents(Study(study(levels).results()))
    found = check(latex_tables(contents))
    assert len(found) == any(levels.values())
    assert all(len(rows) == 2 for rows in found)


def test_hostile_names(study):
    arms = {HOSTILE: "vae", "[glow]*": "glow"}
    builder = study({HOSTILE: [2.3, 2.4, 2.35], "[glow]*": [2.0, 2.1, 2.05]}, families=arms)
    for row in builder.measurements:
        row["conditions"] = HOSTILE if row["split"] == "throughput" else row.get("conditions", "")
    results = builder.results(study_id=f"{HOSTILE}\n\\evil", dataset={"name": HOSTILE})
    text = latex_tables(Contents(Study(results)))
    found = check(text)
    assert len(found) == 2
    assert not any("evil" in line for line in text.splitlines() if not line.startswith(("%", r"\label")))
    assert "passwd" in text
    assert "/etc/passwd" not in text
