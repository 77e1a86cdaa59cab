"""A document as one HTML file that needs nothing else: pictures inside, no script, no network."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment

from masktrain.document import Block, Bullets, Code, Heading, Paragraph, Picture, Table, spans

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #fff; --faint: #667; --line: #d5d9e0;
        --shade: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #16181c; --faint: #a0a6b0; --line: #3a3f47; --shade: #20242a;
          --accent: #6bb6e8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
       font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.page { display: grid; grid-template-columns: 15rem minmax(0, 48rem); gap: 3rem;
        max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
nav { position: sticky; top: 2rem; align-self: start; font-size: .875rem; }
nav a { display: block; padding: .15rem 0; color: var(--faint); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--accent); text-decoration: underline; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .75rem; padding-top: .5rem;
     border-top: 1px solid var(--line); scroll-margin-top: 1rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p, ul { margin: .75rem 0; }
code, pre { font: .875em/1.5 ui-monospace, "Cascadia Code", Menlo, Consolas, monospace; }
code { background: var(--shade); padding: .1em .3em; border-radius: 3px; }
pre { background: var(--shade); padding: .9rem 1rem; border-radius: 6px; overflow-x: auto; }
pre code { padding: 0; background: none; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
             border-radius: 6px; }
figcaption { color: var(--faint); font-size: .875rem; margin-top: .4rem; }
@media (max-width: 60rem) {
  .page { display: block; }
  nav { position: static; margin-bottom: 2rem; } }
@media print { nav { display: none; } .page { display: block; } }
</style>
</head>
<body><div class="page">
<nav aria-label="Contents">{% for name, text in contents %}<a href="#{{ name }}">{{ text }}</a>
{% endfor %}</nav>
<main>
{{ body | safe }}
</main>
</div></body>
</html>
"""


def html_page(blocks: Sequence[Block]) -> str:
    """Return a document as a whole HTML page.

    Raises:
        OSError: a picture cannot be read.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    sections = [block.text for block in blocks if isinstance(block, Heading) and block.level == 2]
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            title=title,
            contents=[(_anchor(text), text) for text in sections],
            body="\n".join(_html(block) for block in blocks),
        )
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            name = f' id="{_anchor(text)}"' if level == 2 else ""
            rank = min(level, 6)  # HTML has no more
            return f"<h{rank}{name}>{_inline(text)}</h{rank}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        case Table(head, rows):
            return _table(head, rows)
        case Code(text):
            return f"<pre><code>{html.escape(text)}</code></pre>"
        case Picture(path, caption):
            return (
                f'<figure><img alt="{html.escape(caption)}" src="{_embedded(path)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in head)
    lines = [
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="table"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _inline(text: str) -> str:
    tags = {"plain": "{}", "code": "<code>{}</code>", "bold": "<strong>{}</strong>"}
    return "".join(tags[span.kind].format(html.escape(span.text)) for span in spans(text))


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _embedded(path: Path) -> str:
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
