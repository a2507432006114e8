"""Descriptions: Markdown by comrak, then only what is harmless by nh3."""

import re

import comrak
import nh3
from markupsafe import Markup

_WORDS = {"a", "abbr", "b", "br", "code", "del", "em", "i", "img", "ins", "kbd", "s", "samp", "strong", "sub", "sup"}
_BLOCKS = {"blockquote", "dd", "details", "dl", "dt", "hr", "li", "ol", "p", "pre", "summary", "ul"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_TABLES = {"table", "tbody", "td", "th", "thead", "tr"}
_BOXES = {"input"}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"align"},
    "th": {"align"},
}
_SCHEMES = {"http", "https", "mailto"}
_NEST = re.compile(r"<(/?)(?:blockquote|details|dl|ol|table|ul)\b", re.IGNORECASE)
_MOST_NESTED = 100
"""Quotes and lists within each other. nh3 takes six seconds for 25,000, in which the hub would serve nobody."""

_HEADING = re.compile(r"<(/?)h([1-5])>")


def render(text: str) -> Markup:
    """Return the HTML of a description, fit to stand in a page whose title is the only ``h1``.

    Headings move one level down; nh3 has written them without attributes, and what looks like one in the text
    is escaped.
    """
    raw = comrak.render_markdown(text, extension_options=_extensions(), render_options=_rendering())
    if _is_bottomless(raw):
        return Markup("<pre>{}</pre>").format(text)
    clean = nh3.clean(
        raw,
        tags=_WORDS | _BLOCKS | _HEADINGS | _TABLES | _BOXES,
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        # Boxes of task lists: to look at, never to fill in.
        tag_attribute_values={"input": {"type": {"checkbox"}, "checked": {""}}},
        set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer ugc",
    )
    return Markup(_HEADING.sub(lambda found: f"<{found[1]}h{int(found[2]) + 1}>", clean))  # noqa: S704 (sanitized)


def _is_bottomless(raw: str) -> bool:
    depth = 0
    for found in _NEST.finditer(raw):
        depth += -1 if found[1] else 1
        if depth > _MOST_NESTED:
            return True
    return False


def _extensions() -> comrak.ExtensionOptions:
    options = comrak.ExtensionOptions()
    options.table = options.strikethrough = options.autolink = options.tasklist = True
    return options


def _rendering() -> comrak.RenderOptions:
    """Let HTML through: READMEs use it, and nh3 judges it afterwards."""
    options = comrak.RenderOptions()
    options.unsafe_ = True
    return options
