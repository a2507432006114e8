"""Repositories to change: made, described, shown, hidden and deleted by those who may."""

from starlette.responses import Response

from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.repositories import NewRepository, RepositoryChange
from hythe.hub.repository import DESCRIPTION_LENGTH, Repository
from hythe.hub.routes.tags import ImmutableTags
from hythe.oci.reference import DEFAULT_NAMESPACE
from hythe.registry.access import Action
from hythe.web.notices import Notice
from hythe.web.routes.form import Form, converted, filled, parsed
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

FIELDS = ("visibility", "description", "full_description")


async def new_repository(visit: PageRequest) -> Response:
    """Show the form, or make a repository."""
    visit.require_account()
    if visit.request.method != "POST":
        user = await visit.site.hub.users.me(visit.actor)
        return await _new_page(visit, filled(visibility=user.default_visibility.value, namespace=visit.name))
    form = await visit.form()
    try:
        new = parsed(form, NewRepository, "namespace", "name", *FIELDS)
        made = await visit.site.hub.repositories.create(visit.actor, new)
    except (Invalid, Taken) as error:
        return await _new_page(visit, form.wrong(error.fields), error.status)
    except Refused as error:
        return await _new_page(visit, form.wrong({"": str(error)}), error.status)
    return visit.redirect(repository_address(made), Notice.REPOSITORY_MADE)


async def _new_page(visit: PageRequest, form: Form, status: int = 200) -> Response:
    places = [(visit.name, f"{visit.name}/..", "Yours.")]
    if await visit.site.hub.access.is_admin(visit.actor):
        places.append((DEFAULT_NAMESPACE, "Top-level", "An official image of this hub: a short name, always public."))
    return visit.page(
        "new-repository.html", status, form=form, namespaces=places, description_length=DESCRIPTION_LENGTH
    )


async def settings(visit: PageRequest) -> Response:
    """Show a repository's settings, or change them."""
    found = await repository_of(visit)
    await visit.site.hub.access.require_repository(visit.actor, found.full_name, Action.PUSH)
    form = filled(
        visibility=found.visibility.value, description=found.description, full_description=found.full_description
    )
    if visit.request.method != "POST":
        return await _settings_page(visit, found, form)
    sent = await visit.form()
    if sent["action"] == "tags":
        return await _keep_tags(visit, found, sent, form)
    form = sent
    try:
        change = parsed(form, RepositoryChange, *FIELDS)
        await visit.site.hub.repositories.edit(visit.actor, found.full_name, change)
    except Invalid as error:
        return await _settings_page(visit, found, form.wrong(error.fields), error.status)
    except Refused as error:
        return await _settings_page(visit, found, form.wrong({"": str(error)}), error.status)
    return visit.redirect(f"{repository_address(found)}/-/settings", Notice.REPOSITORY_SAVED)


async def _keep_tags(visit: PageRequest, found: Repository, sent: Form, present: Form) -> Response:
    """Say which tags may be set once and not moved: patterns, a line each."""
    try:
        wanted = converted({"patterns": sent["patterns"].split()}, ImmutableTags)
    except Invalid as error:
        problem = "are at most 100 patterns of letters, digits, '.', '_' and '-', with * and ? for anything else"
        shown = Form({**present.fields, "patterns": (sent["patterns"],)}, {"patterns": problem})
        return await _settings_page(visit, found, shown, error.status)
    await visit.site.hub.tags.set_immutable(visit.actor, found.full_name, wanted.patterns)
    return visit.redirect(f"{repository_address(found)}/-/settings", Notice.REPOSITORY_SAVED)


async def _settings_page(visit: PageRequest, found: Repository, form: Form, status: int = 200) -> Response:
    kept = await visit.site.hub.tags.immutable(visit.actor, found.full_name)
    return visit.page(
        "repository-settings.html",
        status,
        repository=found,
        form=form,
        patterns=form["patterns"] or "\n".join(kept),
        description_length=DESCRIPTION_LENGTH,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/settings"),
    )


async def delete(visit: PageRequest) -> Response:
    """Ask for the repository's name, and delete it when that was typed."""
    found = await repository_of(visit)
    await visit.site.hub.access.require_repository(visit.actor, found.full_name, Action.DELETE)
    form = Form()
    if visit.request.method == "POST":
        form = await visit.form()
        if form["confirm"].strip() in {found.short_name, found.full_name}:
            await visit.site.hub.repositories.delete(visit.actor, found.full_name)
            return visit.redirect(f"/{found.namespace}", Notice.REPOSITORY_DELETED)
        form = form.wrong({"confirm": f"must be {found.short_name}"})
    own_tabs = await repository_tabs(visit, found, f"{repository_address(found)}/-/settings")
    status = 422 if form.errors else 200
    return visit.page("repository-delete.html", status, repository=found, form=form, tabs=own_tabs)
