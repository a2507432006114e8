"""A repository's build set-up: rules, options, secrets, trigger URL, webhook, badge; switching off and deleting."""

import msgspec
from starlette.responses import Response

from hythe.builds.errors import InvalidSetup
from hythe.builds.forge_hooks import Removed, ShownHook
from hythe.builds.forges.errors import ForgeError
from hythe.builds.rules import Rule, SourceRef
from hythe.builds.setup import Changes, Network, Options, Setup
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.repository import Repository
from hythe.hub.routes.parsing import parse_fields
from hythe.web.notices import Notice
from hythe.web.routes.form import Form, filled
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.routes.visit import Visit
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


async def build_setup(visit: Visit) -> Response:
    """Show everything of the set-up, or change one part of it."""
    found, setup = await managed_setup(visit)
    if visit.request.method != "POST":
        return await _page(visit, found, setup, Form())
    form = await visit.form()
    try:
        return await _changed(visit, found, setup, form)
    except Invalid as error:
        return await _page(visit, found, setup, form.wrong(error.fields))
    except (InvalidSetup, ForgeError) as error:
        return await _page(visit, found, setup, form.wrong({"": str(error)}))


async def managed_setup(visit: Visit) -> tuple[Repository, Setup]:
    """Return the repository that the address names with its set-up. Raises NotFound, SignInNeeded, Refused."""
    found = await repository_of(visit)
    return found, await visit.site.builds.setups.managed(visit.actor, found.full_name)


async def _changed(visit: Visit, found: Repository, setup: Setup, form: Form) -> Response:
    name, here = found.full_name, f"{repository_address(found)}/-/build-setup"
    services = visit.site.builds
    notice = Notice.BUILDS_SAVED
    match form["action"]:
        case "options":
            await services.setups.change(visit.actor, name, Changes(options=_options(setup.options, form)))
        case "source":
            changed = await services.setups.change(visit.actor, name, _source(setup, form))
            if setup.has_credentials and not changed.has_credentials:
                notice = Notice.CREDENTIALS_FORGOTTEN
        case "activate" | "deactivate":
            await services.setups.change(visit.actor, name, Changes(active=form["action"] == "activate"))
        case "trigger":
            await services.builds.trigger_token(visit.actor, name, anew=True)
        case "webhook":
            await visit.site.sources.hooks.install(visit.actor, name, visit.site.url(visit.request))
        case "secret":
            await services.setups.set_secret(visit.actor, name, form["secret_name"].strip(), form["secret_value"])
        case "forget-secret":
            await services.setups.remove_secret(visit.actor, name, form["secret_name"])
    return visit.redirect(here, notice)


def _options(present: Options, form: Form) -> Options:
    switches = {name: name in form.all("switch") for name, _, _ in SWITCHES}
    network = Network(form["network"]) if form["network"] in {each.value for each in Network} else None
    return msgspec.structs.replace(present, schedule=form["schedule"].strip()[:100], network=network, **switches)


def _source(setup: Setup, form: Form) -> Changes:
    """Return another address, other credentials, or both; what is left empty stays."""
    url = form["source_url"].strip()
    moved = msgspec.structs.replace(setup.source, url=url, forge_repository="") if url != setup.source.url else None
    return Changes(source=moved if url else None, credentials=form["credentials"] or None)


async def _page(visit: Visit, found: Repository, setup: Setup, form: Form) -> Response:
    services = visit.site.builds
    token = await services.builds.trigger_token(visit.actor, found.full_name)
    return visit.page(
        "build-setup.html",
        422 if form.errors else 200,
        repository=found,
        setup=setup,
        form=Form({**_present(setup).fields, **form.fields}, form.errors),
        hook=await _hook(visit, found),
        deliveries=await visit.site.sources.hooks.deliveries(visit.actor, found.full_name),
        trigger_url=f"{visit.site.url(visit.request)}/u/{found.full_name}/trigger/{token}/",
        calls=await services.builds.trigger_calls(visit.actor, found.full_name),
        secrets=await services.setups.secret_names(visit.actor, found.full_name),
        switches=SWITCHES,
        networks=NETWORKS,
        chosen=form.all("switch") if form["action"] == "options" else _chosen(setup.options),
        url=visit.site.url(visit.request),
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )


def _present(setup: Setup) -> Form:
    network = setup.options.network
    return filled(
        schedule=setup.options.schedule,
        # "open" is as much as the hub allows.
        network="" if network in (None, Network.OPEN) else network.value,
        source_url=setup.source.url,
    )


def _chosen(options: Options) -> list[str]:
    return [name for name, _, _ in SWITCHES if getattr(options, name)]


async def _hook(visit: Visit, found: Repository) -> ShownHook | None:
    try:
        return await visit.site.sources.hooks.shown(visit.actor, found.full_name)
    except NotFound:
        return None


async def rule(visit: Visit) -> Response:
    """Show one rule, or a new one (number 0); save or remove it."""
    found, setup = await managed_setup(visit)
    number = visit.request.path_params["rule"]
    present = next((each for each in setup.rules if each.id == number), None)
    if present is None and number:
        raise NotFound("there is no such rule")
    if visit.request.method != "POST":
        return await _rule_page(visit, found, _rule_form(present), present)
    form = await visit.form()
    try:
        rules = _with_rule(setup.rules, number, None if form["action"] == "remove" else rule_of(form, number))
        await visit.site.builds.setups.change(visit.actor, found.full_name, Changes(rules=rules))
    except Invalid as error:
        return await _rule_page(visit, found, form.wrong(error.fields), present)
    except InvalidSetup as error:
        return await _rule_page(visit, found, form.wrong({"": str(error)}), present)
    return visit.redirect(f"{repository_address(found)}/-/build-setup", Notice.BUILDS_SAVED)


def _with_rule(rules: tuple[Rule, ...], number: int, changed: Rule | None) -> tuple[Rule, ...]:
    """Return the rules with one changed in its place, added at the end (number 0), or removed (None)."""
    kept = tuple(changed if each.id == number else each for each in rules)
    added = (changed,) if number == 0 else ()
    return tuple(each for each in (*kept, *added) if each is not None)


async def _rule_page(visit: Visit, found: Repository, form: Form, present: Rule | None) -> Response:
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


async def preview(visit: Visit) -> Response:
    """Show which branches and tags of the source would build as what, now."""
    found, setup = await managed_setup(visit)
    refs: tuple[SourceRef, ...] = ()
    trouble = ""
    try:
        if setup.source.link_id is not None:
            refs = await visit.site.sources.links.refs(visit.actor, setup.source.link_id, setup.source.forge_repository)
        else:
            refs = (await visit.site.sources.forges.advertised(setup.source.url))[1]
    except (ForgeError, NotFound) as error:
        trouble = str(error)
    return visit.page(
        "build-preview.html",
        repository=found,
        setup=setup,
        lines=await visit.site.builds.setups.preview(visit.actor, setup.rules, refs),
        seen=len(refs),
        trouble=trouble,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )


async def delete_setup(visit: Visit) -> Response:
    """Ask, and delete the set-up with its builds, its webhook and its deploy key; the image stays."""
    found, _ = await managed_setup(visit)
    removed: Removed | None = None
    if visit.request.method == "POST":
        await visit.form()
        removed = await visit.site.sources.hooks.remove_setup(visit.actor, found.full_name)
    return visit.page(
        "build-setup-delete.html",
        repository=found,
        removed=removed,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )
