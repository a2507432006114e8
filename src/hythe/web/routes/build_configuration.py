"""A repository's build set-up: rules, options, secrets, trigger URL, webhook, badge; switching off and deleting."""

import msgspec
from starlette.responses import Response

from hythe.builds.configuration import BuildConfiguration, ConfigurationChanges, Network, Options
from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.forge_webhooks import Removed, ShownHook
from hythe.builds.rules import Rule, SourceRef
from hythe.forges.errors import ForgeError
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.repository import Repository
from hythe.hub.routes.parsing import parse_fields
from hythe.web.notices import Notice
from hythe.web.routes.form import Form, filled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

SWITCHES = (
    ("autotest", "Test before the push", "Run *.test.yml, service sut; what fails is not pushed."),
    ("base_link", "Build anew when a base image moves", "Here or in any registry that can be asked."),
    ("readme", "README becomes the description", "The one beside the Dockerfile."),
    ("submodules", "Fetch submodules", ""),
    ("reproduce", "Build twice and compare", "A second, independent build marks the image reproduced."),
    ("mail", "Mail on failure", "And on the first success after it."),
)
NETWORKS = (
    ("", "What the hub allows", ""),
    (Network.REGISTRY.value, "This registry alone", ""),
    (Network.OFF.value, "Nothing", ""),
)
RULE_SWITCHES = (
    ("autobuild", "Build on push", "Off: only by hand, by the trigger URL, the clock and base images."),
    ("cache", "Use the layer cache", ""),
)


async def build_setup(visit: PageRequest) -> Response:
    """Show everything of the set-up, or change one part of it."""
    found, configuration = await managed_setup(visit)
    if visit.request.method != "POST":
        return await _page(visit, found, configuration, Form())
    form = await visit.form()
    try:
        return await _changed(visit, found, configuration, form)
    except Invalid as error:
        return await _page(visit, found, configuration, form.wrong(error.fields))
    except (InvalidBuildConfiguration, ForgeError) as error:
        return await _page(visit, found, configuration, form.wrong({"": str(error)}))


async def managed_setup(visit: PageRequest) -> tuple[Repository, BuildConfiguration]:
    """Return the repository that the address names with its set-up. Raises NotFound, SignInNeeded, Refused."""
    found = await repository_of(visit)
    return found, await visit.site.builds.configurations.managed(visit.actor, found.full_name)


async def _changed(visit: PageRequest, found: Repository, configuration: BuildConfiguration, form: Form) -> Response:
    name, here = found.full_name, f"{repository_address(found)}/-/build-configuration"
    services = visit.site.builds
    notice = Notice.BUILDS_SAVED
    match form["action"]:
        case "options":
            await services.configurations.change(
                visit.actor, name, ConfigurationChanges(options=_options(configuration.options, form))
            )
        case "source":
            changed = await services.configurations.change(visit.actor, name, _source(configuration, form))
            if configuration.has_credentials and not changed.has_credentials:
                notice = Notice.CREDENTIALS_FORGOTTEN
        case "activate" | "deactivate":
            await services.configurations.change(visit.actor, name, ConfigurationChanges(active=form["action"] == "activate"))
        case "trigger":
            await services.builds.trigger_token(visit.actor, name, anew=True)
        case "webhook":
            await visit.site.sources.hooks.install(visit.actor, name, visit.site.url(visit.request))
        case "secret":
            await services.configurations.set_secret(
                visit.actor, name, form["secret_name"].strip(), form["secret_value"]
            )
        case "forget-secret":
            await services.configurations.remove_secret(visit.actor, name, form["secret_name"])
    return visit.redirect(here, notice)


def _options(present: Options, form: Form) -> Options:
    switches = {name: name in form.all("switch") for name, _, _ in SWITCHES}
    network = Network(form["network"]) if form["network"] in {each.value for each in Network} else None
    return msgspec.structs.replace(present, schedule=form["schedule"].strip()[:100], network=network, **switches)


def _source(configuration: BuildConfiguration, form: Form) -> ConfigurationChanges:
    """Return another address, other credentials, or both; what is left empty stays."""
    url = form["source_url"].strip()
    moved = (
        msgspec.structs.replace(configuration.source, url=url, forge_repository="")
        if url != configuration.source.url
        else None
    )
    return ConfigurationChanges(source=moved if url else None, credentials=form["credentials"] or None)


async def _page(visit: PageRequest, found: Repository, configuration: BuildConfiguration, form: Form) -> Response:
    services = visit.site.builds
    token = await services.builds.trigger_token(visit.actor, found.full_name)
    return visit.page(
        "build-configuration.html",
        422 if form.errors else 200,
        repository=found,
        configuration=configuration,
        form=Form({**_present(configuration).fields, **form.fields}, form.errors),
        hook=await _hook(visit, found),
        deliveries=await visit.site.sources.hooks.deliveries(visit.actor, found.full_name),
        trigger_url=f"{visit.site.url(visit.request)}/u/{found.full_name}/trigger/{token}/",
        calls=await services.builds.trigger_calls(visit.actor, found.full_name),
        secrets=await services.configurations.secret_names(visit.actor, found.full_name),
        switches=SWITCHES,
        networks=NETWORKS,
        chosen=form.all("switch") if form["action"] == "options" else _chosen(configuration.options),
        url=visit.site.url(visit.request),
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )


def _present(configuration: BuildConfiguration) -> Form:
    network = configuration.options.network
    return filled(
        schedule=configuration.options.schedule,
        # "open" is as much as the hub allows.
        network="" if network in (None, Network.OPEN) else network.value,
        source_url=configuration.source.url,
    )


def _chosen(options: Options) -> list[str]:
    return [name for name, _, _ in SWITCHES if getattr(options, name)]


async def _hook(visit: PageRequest, found: Repository) -> ShownHook | None:
    try:
        return await visit.site.sources.hooks.shown(visit.actor, found.full_name)
    except NotFound:
        return None


async def rule(visit: PageRequest) -> Response:
    """Show one rule, or a new one (number 0); save or remove it."""
    found, configuration = await managed_setup(visit)
    number = visit.request.path_params["rule"]
    present = next((each for each in configuration.rules if each.id == number), None)
    if present is None and number:
        raise NotFound("there is no such rule")
    if visit.request.method != "POST":
        return await _rule_page(visit, found, _rule_form(present), present)
    form = await visit.form()
    try:
        rules = _with_rule(configuration.rules, number, None if form["action"] == "remove" else rule_of(form, number))
        await visit.site.builds.configurations.change(visit.actor, found.full_name, ConfigurationChanges(rules=rules))
    except Invalid as error:
        return await _rule_page(visit, found, form.wrong(error.fields), present)
    except InvalidBuildConfiguration as error:
        return await _rule_page(visit, found, form.wrong({"": str(error)}), present)
    return visit.redirect(f"{repository_address(found)}/-/build-configuration", Notice.BUILDS_SAVED)


def _with_rule(rules: tuple[Rule, ...], number: int, changed: Rule | None) -> tuple[Rule, ...]:
    """Return the rules with one changed in its place, added at the end (number 0), or removed (None)."""
    kept = tuple(changed if each.id == number else each for each in rules)
    added = (changed,) if number == 0 else ()
    return tuple(each for each in (*kept, *added) if each is not None)


async def _rule_page(visit: PageRequest, found: Repository, form: Form, present: Rule | None) -> Response:
    return visit.page(
        "build-rule.html",
        422 if form.errors else 200,
        repository=found,
        form=form,
        present=present,
        switches=RULE_SWITCHES,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )


def _rule_form(present: Rule | None) -> Form:
    shown = present or Rule(source="")
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
    switches = tuple(name for name, _, _ in RULE_SWITCHES if getattr(shown, name))
    return Form({**{name: (text,) for name, text in texts.items()}, "switch": switches})


def rule_of(form: Form, number: int) -> Rule:
    """Return the rule that the form spells. Raises Invalid."""
    texts = {name: form[name].strip() for name in ("source_type", "source", "tags", "dockerfile", "context", "target")}
    values: dict[str, object] = {
        **texts,
        "arguments": _arguments(form["arguments"]),
        "platforms": form["platforms"].replace(",", " ").split(),
        "timeout": form["timeout"].strip() or "0",
        "id": number,
    }
    switches = {name: name in form.all("switch") for name, _, _ in RULE_SWITCHES}
    return parse_fields(values | switches, Rule, strict=False)


def _arguments(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("=" not in line for line in lines):
        raise Invalid({"arguments": "are lines of NAME=VALUE"})
    return dict(line.split("=", 1) for line in lines)


async def preview(visit: PageRequest) -> Response:
    """Show which branches and tags of the source would build as what, now."""
    found, configuration = await managed_setup(visit)
    refs: tuple[SourceRef, ...] = ()
    problem = ""
    try:
        if configuration.source.linked_account_id is not None:
            refs = await visit.site.sources.links.refs(
                visit.actor, configuration.source.linked_account_id, configuration.source.forge_repository
            )
        else:
            refs = (await visit.site.sources.forges.advertised(configuration.source.url))[1]
    except (ForgeError, NotFound) as error:
        problem = str(error)
    return visit.page(
        "build-preview.html",
        repository=found,
        configuration=configuration,
        lines=await visit.site.builds.configurations.preview(visit.actor, configuration.rules, refs),
        seen=len(refs),
        problem=problem,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )


async def delete_setup(visit: PageRequest) -> Response:
    """Ask, and delete the set-up with its builds, its webhook and its deploy key; the image stays."""
    found, _ = await managed_setup(visit)
    removed: Removed | None = None
    if visit.request.method == "POST":
        await visit.form()
        removed = await visit.site.sources.hooks.remove_setup(visit.actor, found.full_name)
    return visit.page(
        "build-configuration-delete.html",
        repository=found,
        removed=removed,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )
