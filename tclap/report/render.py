"""A `Grid` as text: markdown, html (one page that needs nothing else) and LaTeX with booktabs."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.resources import files

from tclap.report.grid import Cell, Grid, Line

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "α": r"$\alpha$", "β": r"$\beta$"}
LATEX |= {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "‖": r"$\Vert$", "≥": r"$\geq$", "≤": r"$\leq$"}

# Where the intervals over recordings are; each format has them where they do not make the table too wide to be read.
IN_BRACKETS = "In brackets below a number: the 95% interval over recordings, of a row with one seed."
ON_HOVER = "A row with one seed has 95% intervals over recordings: they show while the pointer is on a number."
ELSEWHERE = "The 95% intervals over recordings of a row with one seed stand in the .tex and .html of this table."


def markdown(grids: Sequence[Grid]) -> str:
    """The grids under each other; each chance level stands in its header, the paper's rows are in italics."""
    return "\n".join(_markdown(grid) for grid in grids)


def _markdown(grid: Grid) -> str:
    chance = [f" ({text})" if n >= grid.fixed and text else "" for n, text in enumerate(grid.chance)]
    headers = [name + extra for name, extra in zip(grid.headers, chance or [""] * len(grid.headers), strict=True)]
    rows = [headers, *([_markdown_cell(cell, line) for cell in line.cells] for line in grid.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join(":" + "-" * (width + 1) for width in widths) + "|")
    if grid.title:
        lines = [grid.title, "", *lines]
    notes = [_note(grid, ELSEWHERE), *(f"{mark} {text}." for mark, text in grid.footnotes)]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes if note)])


def _markdown_cell(cell: Cell, line: Line) -> str:
    text = cell.text.replace("|", r"\|")
    if cell.best:
        text = f"**{text}**"
    # "paper", or "paper CLAP" where the paper has several models
    return (re.sub("^paper", "*paper*", text) if line.origin == "paper" else text) + cell.marks


def html_table(grid: Grid, sortable: bool = True) -> str:
    """A table that scrolls sideways under its first columns; a click on a header sorts it."""
    head = "".join(_html_header(grid, n) for n in range(len(grid.headers)))
    body = "\n".join(_html_line(line, grid.fixed) for line in grid.lines)
    kind = "scores sortable" if sortable else "scores"
    title = f"<p class=title>{html.escape(grid.title)}</p>" if grid.title else ""
    notes = "".join(f"<p class=note><sup>{mark}</sup> {html.escape(text)}.</p>" for mark, text in grid.footnotes)
    said = _note(grid, ON_HOVER)
    note = f"<p class=note>{_inline(said)}</p>" if said else ""
    table = f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f"{title}<div class=scroll tabindex=0>{table}</div>{note}{notes}"


def _html_header(grid: Grid, n: int) -> str:
    chance = grid.chance[n] if grid.chance and n >= grid.fixed else ""
    extra = f"<small>chance {html.escape(chance)}</small>" if chance else ""
    name = "fixed" if n < grid.fixed else "score"
    return f"<th scope=col class={name}><span>{html.escape(grid.headers[n])}</span>{extra}</th>"


def _html_line(line: Line, fixed: int) -> str:
    return f"<tr class={line.origin}>{''.join(_html_cell(cell, n < fixed) for n, cell in enumerate(line.cells))}</tr>"


def _html_cell(cell: Cell, fixed: bool) -> str:
    text = html.escape(cell.text)
    if cell.best:
        text = f"<b>{text}</b>"
    own = next((url for name, url in cell.links if not name), "")
    if own:
        text = f"<a href='{html.escape(own, quote=True)}'>{text}</a>"
    text += f"<sup>{cell.marks}</sup>" if cell.marks else ""
    others = [(name, url) for name, url in cell.links if name]
    text += "".join(f" <a class=seed href='{html.escape(url, quote=True)}'>{name}</a>" for name, url in others)
    title = f" title='{html.escape(cell.title, quote=True)}'" if cell.title else ""
    return f"<td{' class=fixed' if fixed else ''}{title}>{text}</td>"


def html_page(title: str, grids: Sequence[Grid]) -> str:
    """The grids as a page that needs nothing else."""
    return document(title, "".join(map(html_table, grids)))


def document(title: str, body: str, head: str = "") -> str:
    """A whole page with the project's style sheet and the script that sorts tables, both inside it."""
    resources = files("tclap.report")
    style, script = (resources.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{style}</style>{head}</head>"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def latex(grids: Sequence[Grid]) -> str:
    """A table* for each grid, as wide as the page, to be input by a paper that loads booktabs and graphicx."""
    return "% \\usepackage{booktabs,graphicx}\n" + "\n".join(map(_latex, grids))


def _latex(grid: Grid) -> str:
    rows = [_latex_row(grid.headers)]
    if grid.chance:
        rows.append(_latex_row(grid.chance))
    notes = [f"\\textsuperscript{{{_tex(mark)}}} {_tex(text)}." for mark, text in grid.footnotes]
    notes.append(_tex(_note(grid, IN_BRACKETS).replace("*", "")))
    columns = "l" + "c" * (grid.fixed - 2) + "l" * (grid.fixed > 1) + "r" * (len(grid.headers) - grid.fixed)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_tex(grid.title)}}}",
            rf"\resizebox{{\textwidth}}{{!}}{{\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            *rows,
            r"\midrule",
            *map(_latex_line, grid.lines),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip\raggedright {note}" for note in notes if note),
            r"\end{table*}",
            "",
        ]
    )


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(_tex, texts)) + r" \\"


def _latex_line(line: Line) -> str:
    cells = []
    for cell in line.cells:
        text = rf"\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text)
        marks = rf"\textsuperscript{{{_tex(cell.marks)}}}" if cell.marks else ""
        cells.append((rf"\emph{{{text}}}" if line.origin == "paper" and text else text) + marks)
    if not any(cell.interval for cell in line.cells):
        return " & ".join(cells) + r" \\"
    # Beside its number an interval would make the table so wide that nobody could read it once it fits the page.
    below = [rf"{{\scriptsize {cell.interval}}}" if cell.interval else "" for cell in line.cells]
    return " & ".join(cells) + " \\\\[-2pt]\n" + " & ".join(below) + r" \\"


def _tex(text: str) -> str:
    plain = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"\$\\alpha\$\\_([a-z]+)", r"$\\alpha_{\\mathrm{\1}}$", plain)


def _note(grid: Grid, where: str) -> str:
    """The grid's note; `where` after it if the grid has intervals over recordings."""
    has_intervals = any(cell.interval for line in grid.lines for cell in line.cells)
    return " ".join(filter(None, (grid.note, where if has_intervals else "")))


def _inline(note: str) -> str:
    """A note's own markdown (**strong**, *emphasis*, `code`) as html."""
    text = html.escape(note, quote=False)
    for pattern, tag in ((r"\*\*(.+?)\*\*", "strong"), (r"\*(.+?)\*", "em"), (r"`(.+?)`", "code")):
        text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
    return text
