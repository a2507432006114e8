"""The page of a namespace's robots: one's own, or an organization's in the query ``namespace``."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.errors import Invalid, Taken
from hythe.hub.tokens.robots import NewRobot
from hythe.hub.tokens.token_terms import Rotation
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_values
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.personal_tokens import (
    DEFAULT_RIGHTS,
    OVERLAPS,
    ROBOT_RIGHTS,
    given_repositories,
    lifetimes,
)


def namespace_of_page(page: PageRequest) -> str:
    """Return the namespace whose credentials the page is about."""
    return page.request.query_params.get("namespace", "") or page.name


async def robots(page: PageRequest) -> Response:
    """List the robots, or create one and show its token once."""
    if page.request.method != "POST":
        return await _robots_page(page, _empty(page))
    sent = await page.form()
    try:
        secret, robot = await page.site.hub.robots.create(page.actor, namespace_of_page(page), _new_robot(sent))
    except (Invalid, Taken) as error:
        return await _robots_page(page, sent.with_errors(error.fields))
    return await _robots_page(page, _empty(page), secret, robot.name)


def _empty(page: PageRequest) -> Form:
    choices = [value for value, _, _ in lifetimes(page.site.hub.robots.terms.max_days)]
    return Form({"rights": DEFAULT_RIGHTS, "expires_in_days": (choices[-1],)})


def _new_robot(form: Form) -> NewRobot:
    values = {
        "name": form["name"],
        "rights": form.all("rights"),
        "expires_in_days": form["expires_in_days"] or None,
        "repositories": given_repositories(form),
    }
    return parse_values(values, NewRobot)


async def _robots_page(page: PageRequest, form: Form, secret: str = "", robot: str = "") -> Response:
    service, namespace = page.site.hub.robots, namespace_of_page(page)
    return page.render(
        "robots.html",
        422 if form.errors else 200,
        form=form,
        namespace=namespace,
        address_query=f"?namespace={quote(namespace)}",
        secret=secret,
        robot=robot,
        robots=await service.list(page.actor, namespace),
        rights=ROBOT_RIGHTS,
        lifetimes=lifetimes(service.terms.max_days),
        overlaps=OVERLAPS,
        tabs=account_tabs("/account/robots"),
    )


async def rotate_robot(page: PageRequest) -> Response:
    """Give a robot a new token, and show it once."""
    sent = await page.form()
    rotation = parse_values({"overlap_hours": sent["overlap_hours"] or "0"}, Rotation)
    name = page.request.path_params["robot"]
    secret, _ = await page.site.hub.robots.rotate(page.actor, namespace_of_page(page), name, rotation)
    return await _robots_page(page, _empty(page), secret, name)


async def delete_robot(page: PageRequest) -> Response:
    """Delete a robot."""
    await page.form()
    namespace = namespace_of_page(page)
    await page.site.hub.robots.delete(page.actor, namespace, page.request.path_params["robot"])
    return page.redirect(f"/account/robots?namespace={quote(namespace)}", Flash.ROBOT_DELETED)
