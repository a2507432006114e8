"""Moving from Docker Hub: the settings of an automated build there become a set-up here."""

from starlette.responses import Response

from hythe.builds.configuration import NewBuildConfiguration
from hythe.builds.docker_hub import DockerHubSettings, from_docker_hub
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.routes.parsing import parse_body
from hythe.hub.routes.problem_details import BadRequest
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.new_build import set_up
from hythe.web.routes.page_request import PageRequest


async def import_build(page: PageRequest) -> Response:
    """Show the form, or set up what the pasted settings say."""
    page.require_account()
    if page.request.method != "POST":
        return await _render(page, prefilled(visibility="public"))
    form = await page.form()
    try:
        return await set_up(page, form, _new_configuration(form))
    except (Invalid, Taken) as error:
        return await _render(page, form.with_errors(error.fields))
    except (InvalidBuildConfiguration, BuildConflict, Refused) as error:
        return await _render(page, form.with_errors({"": str(error)}))


def _new_configuration(form: Form) -> NewBuildConfiguration:
    """Return what the settings spell. Raises Invalid, naming the field that holds them, and InvalidBuildConfiguration."""
    link = form["link"]
    try:
        settings = parse_body(form["settings"].encode(), DockerHubSettings)
    except BadRequest as error:
        raise Invalid({"settings": str(error).replace("the body is", "are", 1)}) from error
    except Invalid as error:
        raise Invalid({"settings": f"are not complete: {error}"}) from error
    return from_docker_hub(
        settings, linked_account_id=int(link) if link.isascii() and link.isdigit() and len(link) < 19 else None
    )


async def _render(page: PageRequest, form: Form) -> Response:
    links = await page.site.sources.links.listed(page.actor)
    places = [(str(each.id), each.login, each.url) for each in links]
    choices = [("", "None", "For public code: the webhook is shown for pasting."), *places]
    return page.render("new-build-docker-hub.html", 422 if form.errors else 200, form=form, links=choices)
