"""Create, configure and delete a repository."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.repositories.repository import DESCRIPTION_LENGTH, Repository
from hythe.hub.routes.tags import ImmutableTags
from hythe.oci.reference import DEFAULT_NAMESPACE
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, parse_form, parse_values, prefilled
from hythe.web.routes.organizations import creatable_namespaces
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

FIELDS = ("visibility", "description", "full_description")


async def new_repository(page: PageRequest) -> Response:
    """Show the form, or create a repository."""
    if page.request.method != "POST":
        visibility = (await page.site.hub.users.me(page.actor)).default_visibility.value
        namespace = page.request.query_params.get("namespace", "") or page.name
        return await _new_page(page, prefilled(visibility=visibility, namespace=namespace))
    form = await page.form()
    try:
        new = parse_form(form, NewRepository, "namespace", "name", *FIELDS)
        repository = await page.site.hub.repositories.create(page.actor, new)
    except (Invalid, Taken) as error:
        return await _new_page(page, form.with_errors(error.fields), error.status)
    except Refused as error:
        return await _new_page(page, form.with_errors({"": str(error)}), error.status)
    return page.redirect(repository_address(repository), Flash.REPOSITORY_CREATED)


async def _new_page(page: PageRequest, form: Form, status: int = 200) -> Response:
    namespaces = await creatable_namespaces(page, form["namespace"])
    if await page.site.hub.access.may(page.actor, f"{DEFAULT_NAMESPACE}/", HubAction.CREATE_REPOSITORY):
        namespaces.append((DEFAULT_NAMESPACE, "Top-level: an official image of this hub, always public"))
    return page.render(
        "new-repository.html", status, form=form, namespaces=namespaces, description_length=DESCRIPTION_LENGTH
    )


async def settings(page: PageRequest) -> Response:
    """Show the settings of a repository, or save them."""
    repository = await repository_of(page)
    await page.site.hub.access.require_repository(page.actor, repository.full_name, HubAction.DESCRIBE_REPOSITORY)
    form = prefilled(
        visibility=repository.visibility.value,
        description=repository.description,
        full_description=repository.full_description,
    )
    if page.request.method != "POST":
        return await _settings_page(page, repository, form)
    submitted = await page.form()
    if submitted["action"] == "tags":
        return await _save_immutable_tags(page, repository, submitted, form)
    form = submitted
    try:
        change = parse_form(form, RepositoryChange, *FIELDS)
        await page.site.hub.repositories.edit(page.actor, repository.full_name, change)
    except Invalid as error:
        return await _settings_page(page, repository, form.with_errors(error.fields), error.status)
    except Refused as error:
        return await _settings_page(page, repository, form.with_errors({"": str(error)}), error.status)
    return page.redirect(f"{repository_address(repository)}/-/settings", Flash.REPOSITORY_SAVED)


async def _save_immutable_tags(page: PageRequest, repository: Repository, submitted: Form, current: Form) -> Response:
    """Save the patterns of immutable tags, one per line."""
    try:
        patterns = parse_values({"patterns": submitted["patterns"].split()}, ImmutableTags).patterns
    except Invalid as error:
        problem = "must be at most 100 patterns of letters, digits, '.', '_', '-', '*' and '?'"
        shown = Form({**current.fields, "patterns": (submitted["patterns"],)}, {"patterns": problem})
        return await _settings_page(page, repository, shown, error.status)
    await page.site.hub.tags.set_immutable(page.actor, repository.full_name, patterns)
    return page.redirect(f"{repository_address(repository)}/-/settings", Flash.REPOSITORY_SAVED)


async def _settings_page(page: PageRequest, repository: Repository, form: Form, status: int = 200) -> Response:
    saved = await page.site.hub.tags.immutable(page.actor, repository.full_name)
    return page.render(
        "repository-settings.html",
        status,
        repository=repository,
        form=form,
        patterns=form["patterns"] or "\n".join(saved),
        description_length=DESCRIPTION_LENGTH,
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/settings"),
    )


async def delete(page: PageRequest) -> Response:
    """Ask for the repository's name, and delete the repository if it was typed."""
    repository = await repository_of(page)
    await page.site.hub.access.require_repository(page.actor, repository.full_name, HubAction.DELETE_REPOSITORY)
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        if form["confirm"].strip() in {repository.short_name, repository.full_name}:
            await page.site.hub.repositories.delete(page.actor, repository.full_name)
            return page.redirect(f"/{repository.namespace}", Flash.REPOSITORY_DELETED)
        form = form.with_errors({"confirm": f"must be {repository.short_name}"})
    own_tabs = await repository_tabs(page, repository, f"{repository_address(repository)}/-/settings")
    status = 422 if form.errors else 200
    return page.render("repository-delete.html", status, repository=repository, form=form, tabs=own_tabs)
