"""The templates, in HTML and in Markdown: every foreign value is escaped, and only the package's own script may run."""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import formatting
from reports.figures.styles import HUES, css

if TYPE_CHECKING:
    from collections.abc import Callable

    from reports.pages.document import Document

MOST_ROWS = 1000
"""Rows of runs in the page, shared among its tables of them; all runs are in the CSV beside it."""


def page_as_html(document: Document) -> str:
    """The page as one self-contained HTML file: every value escaped, nothing loaded, whole without its scripts.

    Only two scripts may run, by their digests: the page's own, and plotly where the page has figures.
    """
    script = own_file("page.js")
    scripts = [script, get_plotlyjs()] if document.figures else [script]
    return html(
        "page.html.j2",
        page=document,
        css=own_file("style.css"),
        colours=Markup(css([*HUES.values(), *document.styles])),  # noqa: S704 - the package's own
        script=script,
        plotly=_plotly() if document.figures else "",
        allowed=" ".join(f"'sha256-{_digest(each)}'" for each in scripts),
        most_rows=MOST_ROWS // max(2, document.tables_of_runs),
    )


def page_as_markdown(document: Document) -> str:
    """The page's Markdown twin, every value escaped for Markdown."""
    return markdown("page.md.j2", page=document)


def html(template: str, **values: object) -> str:
    """A template of HTML with its values, each of them escaped."""
    return _environment(html=True).get_template(template).render(**values)


def markdown(template: str, **values: object) -> str:
    """A template of Markdown with its values, each of them escaped."""
    return _environment(html=False).get_template(template).render(**values)


@cache
def _environment(*, html: bool) -> Environment:
    # Markdown is no HTML: `finalize` escapes for it, HTML included.
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=html,  # noqa: S701
        undefined=StrictUndefined,
        finalize=_escaping(formatting.visible) if html else _escaping(formatting.markdown),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
    environment.filters["fence"] = formatting.fence
    environment.filters["address"] = formatting.address
    environment.filters["data_block"] = data_block
    environment.filters["breakable"] = formatting.breakable
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment


def _escaping(escape: Callable[[str], str]) -> Callable[[object], object]:
    return lambda value: value if isinstance(value, Markup) else escape(str(value))


def own_file(name: str) -> Markup:
    """The package's own style sheet or script, to stand in a page as it is."""
    text = resources.files("reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - the package's own


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


@cache
def _plotly() -> str:
    """plotly's script, packed: unpacked it would be four fifths of what a page may weigh."""
    packed = gzip.compress(get_plotlyjs().encode("utf-8"), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode("ascii")


def data_block(json: str) -> Markup:
    """JSON as the content of a script element, which nothing in it can end."""
    return Markup(json.replace("<", r"\u003c"))  # noqa: S704 - no "<" is left
