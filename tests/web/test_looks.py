"""Layout and accessibility: narrow windows, the keyboard, contrast in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from tests.parts.chromium import DESKTOP, profiles
from tests.web.browser import begin_session, sign_in
from tests.web.content import Content

pytestmark = pytest.mark.browser

COLOURS = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, below, a = top[3] ?? 1) => top.slice(0, 3).map((v, i) => v * a + below[i] * (1 - a));
  const grounds = new Map();
  const ground = element => {
    if (!element) return [255, 255, 255];
    if (!grounds.has(element))
      grounds.set(element, over(parse(getComputedStyle(element).backgroundColor), ground(element.parentElement)));
    return grounds.get(element);
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const element = node.parentElement, style = getComputedStyle(element);
    if (!node.data.trim() || !element.checkVisibility() || element.closest(".hero h1, .hero p, .unseen")) continue;
    const back = ground(element), fore = over(parse(style.color), back);
    const [a, b] = [light(fore), light(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) faint.push([node.data.trim(), style.color, String(back)]);
  }
  return [getComputedStyle(document.body).backgroundColor, faint];
}"""
"""The page's ground, and texts whose contrast is below WCAG AA (1.4.3); the headline on its gradient is left out."""

FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), after = getComputedStyle(e, "::after");
  const label = e.closest("label"), around = label && getComputedStyle(label);
  const outlined = [style, after, around].some(s => s && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2);
  return [e.tagName, (e.getAttribute("aria-label") || e.textContent || e.name).trim(), outlined];
}"""

STRUCTURE = """() => [document.querySelectorAll("h1").length, document.documentElement.lang]"""

NARROW = (320, 360, 768)
"""Widths in points of phones and a tablet."""

CONTROLS = frozenset({"textbox", "button", "link", "radio", "checkbox"})

SCHEME = Literal["light", "dark"]
SCHEMES: tuple[SCHEME, ...] = ("light", "dark")

PUBLIC = ["/", "/search", "/search?q=nothing-like-this", "/sign-in", "/sign-up", "/absent"]
OWN = [
    "/new",
    "/account",
    "/account/names",
    "/account/password",
    "/account/tokens",
    "/account/robots",
    "/account/trust-rules",
    "/account/linked-accounts",
    "/account/organizations",
    "/account/conversion",
    "/account/invitations",
    "/account/audit?actor=nobody-like-this",
    "/account/audit",
    "/account/audit?since=never",
    "/organizations/new",
    "/new-build",
    "/new-build/docker-hub",
]
WITH_ERRORS = frozenset({"/absent", "/account/audit?since=never"})
"""Pages with an error: browsers write its status, or the wrong value, to their console."""

OF_REPOSITORY = [
    "",
    "/-/tags",
    "/-/settings",
    "/-/collaborators",
    "/-/delete",
    "/-/report",
    ":latest",
    ":moved",
    "/-/tags/latest/delete",
]
OF_ORGANIZATION = [
    "",
    "/-/people",
    "/-/teams",
    "/-/teams/a-team",
    "/-/invitations",
    "/-/names",
    "/-/audit",
    "/-/settings",
]
OF_BUILDS = [
    "builds",
    "build-configuration",
    "webhooks",
    "build-configuration/rules/0",
    "build-configuration/preview",
    "build-configuration/delete",
]
OF_ADMINISTRATORS = [
    "",
    *("/accounts", "/accounts?q=no-name-like-this", "/repositories", "/repositories/-/taken-down"),
    *("/reports", "/reports?state=dismissed", "/blocked", "/blocked/digests/new", "/builds", "/storage"),
    *("/mail", "/settings", "/audit"),
]
OF_ADMINISTERED_ACCOUNT = ["", "/block", "/reset-second-factors", "/delete"]
OF_ADMINISTERED_REPOSITORY = ["", "/-/take-down", "/-/hand-over", "/-/delete"]


@pytest.fixture(scope="module")
def filled(content: Content) -> tuple[str, str]:
    """An account and its repository, with long names. It is an administrator, with reports and blocked content."""
    owner = content.account("a-very-long-name-of-a-person")
    text = (
        "# Title\n\n`"
        + "code" * 60
        + "`\n\n```\n"
        + "x" * 300
        + "\n```\n\n| a | b |\n|---|---|\n| "
        + "y" * 200
        + " | z |"
    )
    name = content.repository(owner, "a-rather-long-name-of-a-repository", description="d" * 100, full_description=text)
    content.index(name, "latest", "amd64", "arm64", "riscv64")
    content.image(name, "a-long-tag-" + "x" * 80, steps=("RUN " + "z" * 300,))
    content.image(name, "moved", Env=["PATH=" + "p" * 200], Labels={"l" * 100: "m" * 200})
    content.image(name, "moved", Env=["PATH=" + "q" * 200], Labels={"l" * 100: "m" * 200})
    content.repository(owner, "nothing-in-it", "private")
    content.builds(content.repository(owner, "built"), f"http://127.0.0.1:1/{'team' * 30}/app.git")
    content.organization(owner, organization_of(owner), f"{'invited' * 8}@{'long.' * 10}example.com")
    content.server.admin("set-role", owner, "administrator")
    content.administration(owner, name, f"{owner}/nothing-in-it")
    return owner, name


def organization_of(owner: str) -> str:
    """The name of this owner's organization."""
    return f"{owner[-4:].strip('-')}-company-with-a-long-name"


def pages_of(owner: str, name: str) -> list[str]:
    """Every kind of page, as this owner sees it."""
    own = [*OWN, f"/{owner}", f"/{owner}/nothing-in-it", "/new-build/rules?url=http://127.0.0.1:1/x/y.git"]
    of_builds = [f"/{owner}/built/-/{page}" for page in OF_BUILDS]
    of_organization = [f"/{organization_of(owner)}{page}" for page in OF_ORGANIZATION]
    administered = [f"/admin/accounts/{owner}{page}" for page in OF_ADMINISTERED_ACCOUNT]
    administered += [f"/admin/repositories/{name}{page}" for page in OF_ADMINISTERED_REPOSITORY]
    administered += [f"/admin/accounts/{organization_of(owner)}", f"/admin/repositories/{owner}/nothing-in-it"]
    own += [*administered, *(f"/admin{page}" for page in OF_ADMINISTRATORS)]
    return [*PUBLIC, *own, *of_organization, *of_builds, *(f"/{name}{page}" for page in OF_REPOSITORY)]


@dataclass(frozen=True, slots=True)
class Visit:
    """What one page looks like."""

    path: str
    headings: int
    """How many main headings it has."""
    language: str
    too_wide: list[int]
    """The widths at which it scrolls sideways."""
    faint: dict[SCHEME, list[list[str]]]
    """Texts with too little contrast, with their colour and the ground below them."""
    grounds: dict[SCHEME, str]
    nameless: list[str]
    """Controls without a name for screen readers."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a browser sees when it opens each page once."""

    visits: list[Visit]
    messages: list[str]
    """What the browser wrote to its console, with the page; not about the responses of `WITH_ERRORS` themselves."""


@pytest.fixture(scope="module")
def walk(browser: Browser, content: Content, filled: tuple[str, str]) -> Walk:
    """One visit of every page, for all tests: the visits take most of the time."""
    written: list[tuple[str, ConsoleMessage]] = []
    with profiles(browser) as open_page:
        page = open_page(viewport={"width": NARROW[0], "height": 800})
        page.on("console", lambda message: written.append((page.url, message)))
        begin_session(page, content.url, filled[0])
        visits = [visit(page, content.url, path) for path in pages_of(*filled)]
    left_out = {content.url + path for path in WITH_ERRORS}
    messages = [f"{url}: {message.text}" for url, message in written if message.location["url"] not in left_out]
    return Walk(visits, messages)


def visit(page: Page, url: str, path: str) -> Visit:
    """Open a page in a narrow window, widen it, and then show it on a desktop in both colour schemes."""
    page.set_viewport_size({"width": NARROW[0], "height": 800})
    page.goto(url + path)
    headings, language = page.evaluate(STRUCTURE)
    too_wide = []
    for width in NARROW:
        if width != NARROW[0]:
            page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(width)
    page.set_viewport_size(DESKTOP)
    lines = page.locator("body").aria_snapshot().splitlines()
    nameless = [line for line in lines if line.strip(" -:") in CONTROLS]
    faint: dict[SCHEME, list[list[str]]] = {}
    grounds: dict[SCHEME, str] = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        grounds[scheme], faint[scheme] = page.evaluate(COLOURS)
    return Visit(path, headings, language, too_wide, faint, grounds, nameless)


def test_no_page_is_wider_than_a_phone(walk: Walk) -> None:
    """No page scrolls sideways, even with long names and lines of code (WCAG 1.4.10)."""
    assert {visit.path: visit.too_wide for visit in walk.visits if visit.too_wide} == {}


def test_every_text_can_be_read(walk: Walk) -> None:
    """Text has the contrast that WCAG AA requires, in both colour schemes."""
    grounds = {scheme: {visit.grounds[scheme] for visit in walk.visits} for scheme in SCHEMES}
    assert not grounds["light"] & grounds["dark"], "a page has the same ground in both schemes"

    assert {visit.path: visit.faint for visit in walk.visits if any(visit.faint.values())} == {}


def test_every_page_has_one_title_and_every_box_a_label(walk: Walk) -> None:
    """Screen readers find one main heading, a name for every control, and the page's language."""
    assert {visit.path: visit.headings for visit in walk.visits if visit.headings != 1} == {}
    assert {visit.path: visit.language for visit in walk.visits if visit.language != "en"} == {}
    assert {visit.path: visit.nameless for visit in walk.visits if visit.nameless} == {}


def test_no_page_violates_the_content_security_policy(walk: Walk) -> None:
    """No page contains a script or style that its policy forbids, or loads a missing file."""
    assert walk.messages == []


def reached(page: Page, most: int) -> list[tuple[str, str]]:
    """What the Tab key reaches, in order; each element must show that it has the focus."""
    found = []
    for _ in range(most):
        page.keyboard.press("Tab")
        tag, name, outlined = page.evaluate(FOCUSED)
        if tag == "BODY":
            break
        assert outlined, f"{tag} {name} does not show its focus"
        found.append((tag, name))
    return found


def test_the_keyboard_reaches_everything(page: Page, content: Content, filled: tuple[str, str]) -> None:
    """Tab reaches each link and control in the order of the page, and each shows that it has the focus."""
    owner, name = filled
    begin_session(page, content.url, owner)
    for path in ("/", "/new", f"/{name}"):
        page.goto(content.url + path)
        groups = "input:not([type=hidden]):not([type=radio]), textarea, select"
        controls = page.locator(
            f"a:visible, button:visible, summary, :is({groups}):visible, fieldset:has([type=radio])"
        )
        expected = controls.count()

        assert len(reached(page, expected + 20)) >= expected


def test_the_first_key_skips_to_the_content(page: Page, content: Content) -> None:
    """Tab and Enter skip the header."""
    page.goto(content.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


def test_the_menu_works_by_keyboard(page: Page, content: Content, filled: tuple[str, str]) -> None:
    """Enter opens the account menu, Escape closes it and keeps the focus, and its entries can be reached."""
    sign_in(page, content.url, filled[0])
    page.locator(".menu > summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="New repository").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".menu")).not_to_have_attribute("open", "")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{content.url}/new")


def test_commands_can_be_copied(open_page: Callable[..., Page], content: Content, filled: tuple[str, str]) -> None:
    """With scripts, a button copies the pull command without its prompt; without scripts there is no button."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{content.url}/{filled[1]}")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()

    assert page.evaluate("navigator.clipboard.readText()") == f"docker pull {content.server.host}/{filled[1]}"
    plain = open_page(java_script_enabled=False)
    plain.goto(f"{content.url}/{filled[1]}")
    expect(plain.get_by_role("button", name="Copy")).to_have_count(0)
