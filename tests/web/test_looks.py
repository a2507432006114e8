"""Layout and accessibility: narrow windows, the keyboard, contrast in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page, expect
from tests.web.browser import sign_in
from tests.web.content import Content

pytestmark = pytest.mark.browser

FAINT = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, below, a = top[3] ?? 1) => top.slice(0, 3).map((v, i) => v * a + below[i] * (1 - a));
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
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
  return faint;
}"""
"""Texts whose contrast is below WCAG AA (1.4.3); the headline on its gradient is left out."""

FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), after = getComputedStyle(e, "::after");
  const label = e.closest("label"), around = label && getComputedStyle(label);
  const outlined = [style, after, around].some(s => s && s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2);
  return [e.tagName, (e.getAttribute("aria-label") || e.textContent || e.name).trim(), outlined];
}"""

SCHEME = Literal["light", "dark"]

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
"""Pages whose status, an error, browsers write to their console."""

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


def test_no_page_is_wider_than_a_phone(
    open_page: Callable[..., Page], content: Content, filled: tuple[str, str]
) -> None:
    """No page scrolls sideways, even with long names and lines of code (WCAG 1.4.10)."""
    page = open_page(viewport={"width": 320, "height": 800})
    sign_in(page, content.url, filled[0])
    wide = []
    for path in pages_of(*filled):
        page.goto(content.url + path)
        for width in (320, 360, 768):
            page.set_viewport_size({"width": width, "height": 800})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append((path, width))

    assert wide == []


def test_every_text_can_be_read(page: Page, content: Content, filled: tuple[str, str]) -> None:
    """Text has the contrast that WCAG AA requires, in both colour schemes."""
    sign_in(page, content.url, filled[0])
    grounds: dict[SCHEME, set[str]] = {"light": set(), "dark": set()}
    faint = {}
    for path in pages_of(*filled):
        page.goto(content.url + path)
        for scheme, seen in grounds.items():
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            if found := page.evaluate(FAINT):
                faint[path, scheme] = found

    assert not grounds["light"] & grounds["dark"], "a page has the same ground in both schemes"

    assert faint == {}


def test_every_page_has_one_title_and_every_box_a_label(page: Page, content: Content, filled: tuple[str, str]) -> None:
    """Screen readers find one main heading, a name for every control, and the page's language."""
    sign_in(page, content.url, filled[0])
    nameless = {}
    for path in pages_of(*filled):
        page.goto(content.url + path)
        assert page.locator("h1").count() == 1, path
        expect(page.locator("html")).to_have_attribute("lang", "en")
        snapshot = page.locator("body").aria_snapshot()
        bare = [
            line
            for line in snapshot.splitlines()
            if line.strip(" -:") in {"textbox", "button", "link", "radio", "checkbox"}
        ]
        if bare:
            nameless[path] = bare

    assert nameless == {}


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
    sign_in(page, content.url, owner)
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


def test_no_page_violates_the_content_security_policy(page: Page, content: Content, filled: tuple[str, str]) -> None:
    """No page contains a script or style that its policy forbids, or loads a missing file."""
    messages: list[str] = []
    page.on("console", lambda message: messages.append(f"{page.url}: {message.text}"))
    sign_in(page, content.url, filled[0])
    for path in pages_of(*filled):
        if path not in WITH_ERRORS:
            page.goto(content.url + path)

    assert messages == []
