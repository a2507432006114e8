"""A repository's build configuration: rules, options, secrets, trigger URL, webhook, badge; disable and delete."""

import msgspec
from starlette.responses import Response

from hythe.builds.configuration import BuildConfiguration, ConfigurationChanges, Options
from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.forge_integration.errors import ForgeRequestFailed
from hythe.builds.forge_integration.forge_webhooks import ForgeWebhookReply, RemovalReport
from hythe.builds.rules import Rule
from hythe.forges.source_ref import SourceRef
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.repositories.repository import Repository
from hythe.hub.routes.parsing import parse_fields
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address
from hythe.worker.protocol import Network

OPTIONS = (
    ("autotest", "Autotest", "Run the sut service of *.test.yml before pushing; a failed test fails the build."),
    ("base_link", "Rebuild when a base image changes", "Checks this hub and other registries that can be reached."),
    ("readme", "Use the README as description", "The README in the Dockerfile's folder."),
    ("submodules", "Fetch submodules", ""),
    (
        "reproduce",
        "Build twice and compare",
        "Marks the image as reproduced if a second, independent build has the same digest.",
    ),
    ("mail", "E-mail on failure", "And on the first success afterwards."),
)
NETWORKS = (
    ("", "Default", "What this hub allows."),
    (Network.REGISTRY.value, "This registry only", ""),
    (Network.OFF.value, "None", ""),
)
RULE_OPTIONS = (
    (
        "autobuild",
        "Build on push",
        "If off, only builds started manually, by the trigger URL, the schedule or a base image use this rule.",
    ),
    ("cache", "Use the layer cache", ""),
)


async def build_configuration(page: PageRequest) -> Response:
    """Show the build configuration, or change one part of it."""
    repository, configuration = await managed_configuration(page)
    if page.request.method != "POST":
        return await _render(page, repository, configuration, Form())
    form = await page.form()
    try:
        return await _apply(page, repository, configuration, form)
    except Invalid as error:
        return await _render(page, repository, configuration, form.with_errors(error.fields))
    except (InvalidBuildConfiguration, ForgeRequestFailed) as error:
        return await _render(page, repository, configuration, form.with_errors({"": str(error)}))


async def managed_configuration(page: PageRequest) -> tuple[Repository, BuildConfiguration]:
    """Return the repository in the address and its configuration. Raises NotFound, SignInNeeded, Refused."""
    repository = await repository_of(page)
    return repository, await page.site.builds.configurations.managed(page.actor, repository.full_name)


async def _apply(page: PageRequest, repository: Repository, configuration: BuildConfiguration, form: Form) -> Response:
    name, here = repository.full_name, f"{repository_address(repository)}/-/build-configuration"
    services = page.site.builds
    flash = Flash.BUILDS_SAVED
    match form["action"]:
        case "options":
            await services.configurations.change(
                page.actor, name, ConfigurationChanges(options=_options(configuration.options, form))
            )
        case "source":
            changed = await services.configurations.change(page.actor, name, _source(configuration, form))
            if configuration.has_credentials and not changed.has_credentials:
                flash = Flash.CREDENTIALS_DELETED
        case "activate" | "deactivate":
            await services.configurations.change(
                page.actor, name, ConfigurationChanges(active=form["action"] == "activate")
            )
        case "trigger":
            await services.builds.trigger_token(page.actor, name, rotate=True)
        case "webhook":
            await page.site.forges.webhooks.install(page.actor, name, page.site.url(page.request))
        case "secret":
            await services.configurations.set_secret(
                page.actor, name, form["secret_name"].strip(), form["secret_value"]
            )
        case "delete-secret":
            await services.configurations.remove_secret(page.actor, name, form["secret_name"])
    return page.redirect(here, flash)


def _options(current: Options, form: Form) -> Options:
    switches = {name: name in form.all("switch") for name, _, _ in OPTIONS}
    network = Network(form["network"]) if form["network"] in {each.value for each in Network} else None
    return msgspec.structs.replace(current, schedule=form["schedule"].strip()[:100], network=network, **switches)


def _source(configuration: BuildConfiguration, form: Form) -> ConfigurationChanges:
    """Return the new address, the new credentials, or both; an empty field changes nothing."""
    url = form["source_url"].strip()
    moved = (
        msgspec.structs.replace(configuration.source, url=url, forge_repository="")
        if url != configuration.source.url
        else None
    )
    return ConfigurationChanges(source=moved if url else None, credentials=form["credentials"] or None)


async def _render(page: PageRequest, repository: Repository, configuration: BuildConfiguration, form: Form) -> Response:
    services = page.site.builds
    token = await services.builds.trigger_token(page.actor, repository.full_name)
    return page.render(
        "build-configuration.html",
        422 if form.errors else 200,
        repository=repository,
        configuration=configuration,
        form=Form({**_current_form(configuration).fields, **form.fields}, form.errors),
        webhook=await _forge_webhook(page, repository),
        deliveries=await page.site.forges.webhooks.list_deliveries(page.actor, repository.full_name),
        trigger_url=f"{page.site.url(page.request)}/u/{repository.full_name}/trigger/{token}/",
        calls=await services.builds.trigger_calls(page.actor, repository.full_name),
        secrets=await services.configurations.secret_names(page.actor, repository.full_name),
        switches=OPTIONS,
        networks=NETWORKS,
        chosen=form.all("switch") if form["action"] == "options" else _enabled(configuration.options),
        url=page.site.url(page.request),
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/builds"),
    )


def _current_form(configuration: BuildConfiguration) -> Form:
    network = configuration.options.network
    return prefilled(
        schedule=configuration.options.schedule,
        # "open" is the hub's default.
        network="" if network in (None, Network.OPEN) else network.value,
        source_url=configuration.source.url,
    )


def _enabled(options: Options) -> list[str]:
    return [name for name, _, _ in OPTIONS if getattr(options, name)]


async def _forge_webhook(page: PageRequest, repository: Repository) -> ForgeWebhookReply | None:
    try:
        return await page.site.forges.webhooks.get(page.actor, repository.full_name)
    except NotFound:
        return None


async def rule(page: PageRequest) -> Response:
    """Show one rule, or a new one (number 0); save or delete it."""
    repository, configuration = await managed_configuration(page)
    number = page.request.path_params["rule"]
    current = next((each for each in configuration.rules if each.id == number), None)
    if current is None and number:
        raise NotFound("build rule not found")
    if page.request.method != "POST":
        return await _rule_page(page, repository, _rule_form(current), current)
    form = await page.form()
    try:
        rules = _with_rule(configuration.rules, number, None if form["action"] == "delete" else rule_of(form, number))
        await page.site.builds.configurations.change(
            page.actor, repository.full_name, ConfigurationChanges(rules=rules)
        )
    except Invalid as error:
        return await _rule_page(page, repository, form.with_errors(error.fields), current)
    except InvalidBuildConfiguration as error:
        return await _rule_page(page, repository, form.with_errors({"": str(error)}), current)
    return page.redirect(f"{repository_address(repository)}/-/build-configuration", Flash.BUILDS_SAVED)


def _with_rule(rules: tuple[Rule, ...], number: int, changed: Rule | None) -> tuple[Rule, ...]:
    """Return the rules with one replaced, added (number 0) or deleted (None)."""
    kept = tuple(changed if each.id == number else each for each in rules)
    added = (changed,) if number == 0 else ()
    return tuple(each for each in (*kept, *added) if each is not None)


async def _rule_page(page: PageRequest, repository: Repository, form: Form, current: Rule | None) -> Response:
    return page.render(
        "build-rule.html",
        422 if form.errors else 200,
        repository=repository,
        form=form,
        current=current,
        switches=RULE_OPTIONS,
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/builds"),
    )


def _rule_form(current: Rule | None) -> Form:
    shown = current or Rule(source="")
    texts = {
        "source_type": shown.source_type.value,
        "source": shown.source,
        "tags": shown.tags,
        "dockerfile": shown.dockerfile,
        "context": shown.context,
        "arguments": "\n".join(f"{name}={value}" for name, value in shown.arguments.items()),
        "target": shown.target,
        "platforms": " ".join(shown.platforms),
        "timeout": str(shown.timeout),
    }
    switches = tuple(name for name, _, _ in RULE_OPTIONS if getattr(shown, name))
    return Form({**{name: (text,) for name, text in texts.items()}, "switch": switches})


def rule_of(form: Form, number: int) -> Rule:
    """Return the rule in the form. Raises Invalid."""
    texts = {name: form[name].strip() for name in ("source_type", "source", "tags", "dockerfile", "context", "target")}
    values: dict[str, object] = {
        **texts,
        "arguments": _arguments(form["arguments"]),
        "platforms": form["platforms"].replace(",", " ").split(),
        "timeout": form["timeout"].strip() or "0",
        "id": number,
    }
    switches = {name: name in form.all("switch") for name, _, _ in RULE_OPTIONS}
    return parse_fields(values | switches, Rule, strict=False)


def _arguments(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("=" not in line for line in lines):
        raise Invalid({"arguments": "must be NAME=VALUE, one per line"})
    return dict(line.split("=", 1) for line in lines)


async def preview(page: PageRequest) -> Response:
    """Show what each branch and tag of the source would build as."""
    repository, configuration = await managed_configuration(page)
    refs: tuple[SourceRef, ...] = ()
    problem = ""
    try:
        if configuration.source.linked_account_id is not None:
            refs = await page.site.forges.linked_accounts.refs(
                page.actor, configuration.source.linked_account_id, configuration.source.forge_repository
            )
        else:
            refs = (await page.site.forges.linked_accounts.refs_of_url(page.actor, configuration.source.url))[1]
    except (ForgeRequestFailed, NotFound) as error:
        problem = str(error)
    return page.render(
        "build-preview.html",
        repository=repository,
        configuration=configuration,
        lines=await page.site.builds.configurations.preview(page.actor, configuration.rules, refs),
        ref_count=len(refs),
        problem=problem,
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/builds"),
    )


async def delete_configuration(page: PageRequest) -> Response:
    """Ask for confirmation, or delete the configuration, its builds, webhook and deploy key; images are kept."""
    repository, _ = await managed_configuration(page)
    removed: RemovalReport | None = None
    if page.request.method == "POST":
        await page.form()
        removed = await page.site.forges.webhooks.delete_configuration(page.actor, repository.full_name)
    return page.render(
        "build-configuration-delete.html",
        repository=repository,
        removed=removed,
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/builds"),
    )
