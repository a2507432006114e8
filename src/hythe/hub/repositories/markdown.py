"""Render descriptions: Markdown to HTML by comrak, sanitized by nh3."""

import re

import comrak
import nh3
from markupsafe import escape

_INLINE = {"a", "abbr", "b", "br", "code", "del", "em", "i", "img", "ins", "kbd", "s", "samp", "strong", "sub", "sup"}
_BLOCKS = {"blockquote", "dd", "details", "dl", "dt", "hr", "li", "ol", "p", "pre", "summary", "ul"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_TABLES = {"table", "tbody", "td", "th", "thead", "tr"}
_CHECKBOXES = {"input"}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"align"},
    "th": {"align"},
}
_SCHEMES = {"http", "https", "mailto"}
_NESTING = re.compile(r"<(/?)(?:blockquote|details|dl|ol|table|ul)\b", re.IGNORECASE)
_MAX_NESTING = 100
"""Nested quotes and lists. nh3 takes six seconds for 25,000 levels, which would block the event loop."""

_HEADING = re.compile(r"<(/?)h([1-5])>")


RENDERER = 1
"""The version of the HTML that ``render`` returns; raise it with every change: stored HTML is then rendered again."""


def render(text: str) -> str:
    """Return the sanitized HTML of a description for a page whose title is the only ``h1``.

    Headings move down one level. A regular expression is enough: nh3 leaves them no attributes, and escapes text
    that looks like a heading.
    """
    raw = comrak.render_markdown(text, extension_options=_extensions(), render_options=_rendering())
    if _is_too_deep(raw):
        return f"<pre>{escape(text)}</pre>"
    clean = nh3.clean(
        raw,
        tags=_INLINE | _BLOCKS | _HEADINGS | _TABLES | _CHECKBOXES,
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        # The checkboxes of task lists are always disabled.
        tag_attribute_values={"input": {"type": {"checkbox"}, "checked": {""}}},
        set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer ugc",
    )
    return _HEADING.sub(lambda tag: f"<{tag[1]}h{int(tag[2]) + 1}>", clean)


def render_within(text: str, largest: int) -> str | None:
    """Return the HTML of ``text``; None if it has more than ``largest`` characters."""
    html = render(text)
    return html if len(html) <= largest else None


def _is_too_deep(raw: str) -> bool:
    depth = 0
    for tag in _NESTING.finditer(raw):
        depth += -1 if tag[1] else 1
        if depth > _MAX_NESTING:
            return True
    return False


def _extensions() -> comrak.ExtensionOptions:
    options = comrak.ExtensionOptions()
    options.table = options.strikethrough = options.autolink = options.tasklist = True
    return options


def _rendering() -> comrak.RenderOptions:
    """Keep raw HTML, which READMEs use; nh3 sanitizes it afterwards."""
    options = comrak.RenderOptions()
    options.unsafe_ = True
    return options
