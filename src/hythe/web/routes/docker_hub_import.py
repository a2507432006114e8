"""Import an automated build from Docker Hub: its settings become a build configuration."""

from starlette.responses import Response

from hythe.builds.configuration import NewBuildConfiguration
from hythe.builds.docker_hub import DockerHubSettings, from_docker_hub
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.routes.parsing import parse_body
from hythe.hub.routes.problem_details import BadRequest
from hythe.web.routes.form import Form, prefilled, row_id
from hythe.web.routes.new_build import create_configuration
from hythe.web.routes.organizations import creatable_namespaces
from hythe.web.routes.page_request import PageRequest


async def import_build(page: PageRequest) -> Response:
    """Show the form, or create a configuration from the pasted settings."""
    if page.request.method != "POST":
        return await _render(page, prefilled(visibility="public"))
    form = await page.form()
    try:
        return await create_configuration(page, form, _new_configuration(form))
    except (Invalid, Taken) as error:
        return await _render(page, form.with_errors(error.fields), error.status)
    except (InvalidBuildConfiguration, BuildConflict, Refused) as error:
        return await _render(page, form.with_errors({"": str(error)}), error.status)


def _new_configuration(form: Form) -> NewBuildConfiguration:
    """Parse the pasted settings. Raises Invalid and InvalidBuildConfiguration."""
    try:
        settings = parse_body(form["settings"].encode(), DockerHubSettings, lenient=True)
    except BadRequest as error:
        reason = f": {error.__cause__}" if error.__cause__ else ""
        raise Invalid({"settings": f"must be a JSON object{reason}"}) from error
    except Invalid as error:
        raise Invalid({"settings": f"are not complete: {error}"}) from error
    return from_docker_hub(settings, linked_account_id=row_id(form["linked_account"]))


async def _render(page: PageRequest, form: Form, status: int = 422) -> Response:
    accounts = await page.site.forges.linked_accounts.list_own(page.actor)
    options = [(str(each.id), each.login, each.url) for each in accounts]
    choices = [("", "None", "For public code. You add the webhook yourself."), *options]
    return page.render(
        "new-build-docker-hub.html",
        status if form.errors else 200,
        form=form,
        accounts=choices,
        namespaces=await creatable_namespaces(page, form["namespace"]),
    )
