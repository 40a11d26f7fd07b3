"""Page: a report as one HTML file with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO

from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1150px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; display: block; overflow-x: auto; }
th, td { padding: 2px 8px; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.off { background: #fbe0d3; } figure { margin: 1em 0; } img { max-width: 100%; } p { max-width: 50em; }
nav a { margin-right: 1em; }
"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table; one that is `off` lies outside of what is wanted, and is coloured."""

    text: str
    off: bool = False


@dataclass(frozen=True)
class Table:
    """A table: heads of the columns, and rows of cells, the first of which is a name."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]

    def html(self) -> str:
        """The table in HTML."""
        head = "".join(f"<th>{escape(text)}</th>" for text in self.heads)
        return f"<table><tr>{head}</tr>{''.join(map(_row, self.rows))}</table>"


@dataclass
class Section:
    """A heading and under it paragraphs (str), tables and figures."""

    heading: str
    blocks: list[str | Table | Figure] = field(default_factory=list)


def page(title: str, sections: Sequence[Section]) -> str:
    """The report as HTML that needs no other file."""
    links = "".join(f'<a href="#s{k}">{escape(s.heading)}</a>' for k, s in enumerate(sections))
    body = "".join(
        f'<h2 id="s{k}">{escape(section.heading)}</h2>{"".join(map(_block, section.blocks))}'
        for k, section in enumerate(sections)
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><nav>{links}</nav>{body}</body></html>\n"
    )


def _row(cells: Sequence[Cell | str]) -> str:
    whole = [Cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return "<tr>" + "".join(f"<td{' class=off' * cell.off}>{escape(cell.text)}</td>" for cell in whole) + "</tr>"


def _block(block: str | Table | Figure) -> str:
    if isinstance(block, Table):
        return block.html()
    if isinstance(block, Figure):
        picture = BytesIO()
        block.savefig(picture, format="png", dpi=110)
        data = base64.b64encode(picture.getvalue()).decode()
        return f'<figure><img alt="" src="data:image/png;base64,{data}"></figure>'
    return f"<p>{escape(block)}</p>"
