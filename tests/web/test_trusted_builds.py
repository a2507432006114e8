"""Trusted Builds in the pages: link, preview, configure, push, live log, unlink."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.builds.services import PASSWORD, Services, start_services
from tests.parts.forges import KINDS, running_forge
from tests.web.browser import begin_session

pytestmark = [pytest.mark.clients, pytest.mark.browser]

__all__ = ["start_services"]

NUMBERS = itertools.count(1)
UNREACHABLE = "http://127.0.0.1:1/hook"


@pytest.fixture(scope="module")
def forges() -> Iterator[dict[str, Any]]:
    """A fake forge of each kind."""
    with ExitStack() as stack:
        yield {kind: stack.enter_context(running_forge(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services], forges: dict[str, Any]) -> Services:
    """A hub that knows these forges and is registered at them."""
    return start_services({"HYTHE_FORGES": " ".join(forge.setting for forge in forges.values())})


@pytest.fixture
def signed_in(visitor: Page, services: Services) -> Page:
    """A browser signed in as alice: on a desktop, and on a phone without scripts."""
    begin_session(visitor, services.hub.url, "alice", PASSWORD)
    return visitor


def link_by_oauth(page: Page, services: Services, kind: str, forge: Any) -> None:
    """Link an account with OAuth; the fake forge grants access at once."""
    page.goto(f"{services.hub.url}/account/linked-accounts")
    card = page.get_by_role("region").filter(has=page.get_by_role("heading", name=title(kind, forge)))
    card.get_by_role("link", name="Link ").last.click()
    expect(page.get_by_text("Account linked.")).to_be_visible()


def title(kind: str, forge: Any) -> str:
    """The title of a forge in the pages."""
    host = forge.url.removeprefix("http://")
    names = {
        "github": f"GitHub Enterprise at {host.partition(':')[0]}",
        "gitea": f"Gitea or Forgejo at {host}",
        "gitlab": f"GitLab at {host}",
        "bitbucket": f"Bitbucket at {host}",
    }
    return names[kind]


def test_from_linking_to_a_build_that_ran(signed_in: Page, services: Services, forges: dict[str, Any]) -> None:
    """Link GitHub, choose a repository, preview, create, push, follow the log to its end."""
    page, forge = signed_in, forges["github"]
    scripts = page.viewport_size is not None and page.viewport_size["width"] > 600
    name = f"paged-{'live' if scripts else 'still'}"
    source = services.source(name, {"Dockerfile": "FROM scratch\nADD rootfs.tar /\nRUN echo seen in the log\n"})
    source.tag("v1.4")
    project = forge.add(source)
    link_by_oauth(page, services, "github", forge)

    page.goto(f"{services.hub.url}/new-build")
    page.get_by_role("link", name="Choose a repository").first.click()
    page.get_by_role("link", name=f"Select src/{name}").click()
    page.get_by_label("Also build version tags").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("row", name="branch main")).to_contain_text("latest")
    expect(page.get_by_role("row", name="tag v1.4")).to_contain_text("1.4")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Installed in src/")).to_be_visible()

    forge.push(project, "refs/heads/main", source.commit({"new": "file"}, "A second thought"))
    page.goto(f"{services.hub.url}/alice/{name}/-/builds")
    page.get_by_role("link", name="Build 1").click()
    if not scripts:
        services.built(f"/api/v1/repositories/alice/{name}", 1)
        page.reload()
    expect(page.locator("#build-status")).to_contain_text("succeeded", timeout=90_000)
    expect(page.locator("#log")).to_contain_text("seen in the log")
    expect(page.get_by_text("A second thought", exact=True)).to_be_visible()
    expect(page.locator(".command code").first).to_contain_text(
        f"hythe verify {services.hub.host}/alice/{name}@sha256:"
    )
    expect(page.get_by_role("region", name="Dockerfile")).to_contain_text("RUN echo seen in the log")
    page.goto(f"{services.hub.url}/alice/{name}")
    expect(page.locator("h1 .mark-automated")).to_have_text("Trusted Build")
    expect(page.locator(".table tbody th")).to_have_text(["latest"])
    expect(page.get_by_role("link", name=f"src/{name}")).to_have_attribute("href", source.url)
    page.get_by_role("link", name="From build 1").click()
    expect(page.get_by_role("heading", name="Build 1")).to_contain_text("succeeded")
    assert forge.violations == []


DOCKER_HUB = """{
  "provider": "github", "owner": "octo", "repository": "moved", "autotests": "SOURCE_ONLY",
  "build_settings": [{"source_type": "Tag", "source_name": "/^v(.+)$/", "tag": "{sourceref}", "dockerfile": "/"}]
}"""


def test_a_build_is_imported_from_docker_hub(signed_in: Page, services: Services) -> None:
    """Pasted settings of an automated build become a configuration; errors are shown at the field, input is kept."""
    page, name = signed_in, f"moved-{next(NUMBERS)}"
    page.goto(f"{services.hub.url}/new-build")
    page.get_by_role("link", name="Import a build").click()
    page.get_by_label("Image", exact=True).fill(name)
    page.get_by_label("Settings").fill(DOCKER_HUB[:40])
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#settings-error")).to_contain_text("Settings must be a JSON object")
    expect(page.get_by_label("Settings")).to_have_value(DOCKER_HUB[:40])
    page.get_by_label("Settings").fill(DOCKER_HUB.replace("build_settings", "settings"))
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#settings-error")).to_contain_text("build_settings: is required")
    page.get_by_label("Settings").fill(DOCKER_HUB)
    page.get_by_role("button", name="Import").click()

    expect(page).to_have_url(f"{services.hub.url}/alice/{name}/-/build-configuration")
    expect(page.get_by_text("https://github.com/octo/moved.git", exact=False).first).to_be_visible()
    configuration = services.call("GET", f"/api/v1/repositories/alice/{name}/build-configuration")
    assert configuration["options"]["autotest"] is True
    assert [(rule["source"], rule["tags"], rule["dockerfile"]) for rule in configuration["rules"]] == [
        ("/^v(.+)$/", "{sourceref}", "Dockerfile")
    ]


def test_a_configuration_is_changed(signed_in: Page, services: Services) -> None:
    """Options, secrets and source are saved separately; an error in one does not change the others."""
    page, name = signed_in, f"changed-{len(services.sources)}"
    source = services.source(name)
    services.configure(name, source, {"source": "main"}, options={"schedule": "daily 04:00"})
    here = f"{services.hub.url}/alice/{name}/-/build-configuration"
    page.goto(here)
    page.get_by_label("None", exact=True).check()
    page.get_by_label("Schedule").fill("now and then")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("None", exact=True)).to_be_checked()
    page.get_by_label("Schedule").fill("every 6h")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("saved")

    page.get_by_label("Name", exact=True).fill("not a name")
    page.get_by_label("Value", exact=True).fill("x")
    page.get_by_role("button", name="Add secret").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Schedule")).to_have_value("every 6h")
    expect(page.get_by_label("None", exact=True)).to_be_checked()

    page.get_by_label("Git URL", exact=True).fill(f"{source.url}?moved")
    page.get_by_role("button", name="Save source").click()
    expect(page.get_by_label("Git URL", exact=True)).to_have_value(f"{source.url}?moved")
    configuration = services.call("GET", f"/api/v1/repositories/alice/{name}/build-configuration")
    assert (configuration["options"]["network"], configuration["options"]["schedule"]) == ("off", "every 6h")


def test_webhooks_are_delivered_and_redelivered(signed_in: Page, services: Services) -> None:
    """A webhook is delivered after the next build, listed, redelivered and deleted."""
    page, name = signed_in, f"webhook-{len(services.sources)}"
    path = services.configure(name, services.source(name, {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}))
    page.goto(f"{services.hub.url}/alice/{name}/-/build-configuration")
    page.get_by_role("link", name="Manage webhooks").click()
    page.get_by_label("Payload URL").fill("nowhere")
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_role("alert")).to_contain_text("Payload URL must have at least 8 characters")
    page.get_by_label("Payload URL").fill(UNREACHABLE)
    page.get_by_label("Failure").check()
    page.get_by_role("button", name="Add webhook").click()
    expect(page.get_by_text("success, failure", exact=True)).to_be_visible()
    [number] = services.trigger(path)
    services.built(path, number)
    [webhook] = services.call("GET", f"{path}/webhooks")["items"]
    deliveries = f"{path}/webhooks/{webhook['id']}/deliveries"
    while not services.call("GET", deliveries)["items"][0]["attempts"]:
        page.wait_for_timeout(100)
    page.reload()
    expect(page.get_by_text("Cannot connect to host 127.0.0.1:1")).to_be_visible()
    page.get_by_role("button", name=f"Redeliver success to {UNREACHABLE}").click()
    expect(page.get_by_role("status")).to_have_text("The delivery has been queued again.")

    page.get_by_role("button", name=f"Delete {UNREACHABLE}").click()
    expect(page.get_by_text("No webhooks yet.")).to_be_visible()


def test_deliveries_are_listed_and_unlinking_reports_what_remains(
    signed_in: Page, services: Services, forges: dict[str, Any]
) -> None:
    """A delivery with a wrong signature is listed as refused; unlinking names the webhook that could not be removed."""
    page, forge = signed_in, forges["gitlab"]
    name = f"unlinked-{len(forge.projects)}"
    project = forge.add(services.source(name))
    link_by_oauth(page, services, "gitlab", forge)
    page.goto(f"{services.hub.url}/account/linked-accounts")
    page.get_by_role("link", name="New Trusted Build").first.click()
    page.get_by_role("listitem").filter(has_text=forge.url).get_by_role("link").click()
    page.get_by_role("link", name=f"Select src/{name}").click()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Trusted Builds are configured")).to_be_visible()
    [hook] = project.webhooks.values()
    forge.send(hook, *forge.push_event(project, "refs/heads/main", "0" * 40, "1" * 40), secret="wrong")

    page.reload()
    expect(page.get_by_text("The signature is missing or wrong")).to_be_visible()
    project.admin = False
    page.goto(f"{services.hub.url}/account/linked-accounts")
    page.get_by_role("link", name=f"Unlink octo at {forge.url}").click()
    page.get_by_role("button", name="Unlink").click()
    expect(page.get_by_role("alert")).to_contain_text(f"The webhook of src/{name}")
    expect(page.get_by_text("The token of octo")).to_be_visible()
    assert not [token for token in forge.tokens if token.startswith("oauth-")]
