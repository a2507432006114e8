"""The pages on which administrators see replication rules and what is behind, and add, run and remove rules."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.replication.rule import NewReplicationRule, ReplicationRuleChange
from hythe.web.flashes import Flash
from hythe.web.routes.administration import action_page, administration_page
from hythe.web.routes.form import Form, parse_values, prefilled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

REPLICATION = "/admin/replication"
_TEXTS = ("name", "direction", "url", "username", "password", "destination", "interval", "concurrency")
_FLAGS = ("deletions", "override", "events")


def rule_address(name: str) -> str:
    """Return the address of a rule's page."""
    return f"{REPLICATION}/rules/{quote(name, safe='')}"


async def rules(page: PageRequest) -> Response:
    """List the rules, with what is behind."""
    listed = await page.site.replication.rules.list(page.actor)
    return administration_page(page, "admin-replication.html", REPLICATION, rules=listed, rule_link=rule_address)


async def new_rule(page: PageRequest) -> Response:
    """Show the form of a new rule, or add the rule."""

    async def work(form: Form) -> str:
        values: dict[str, object] = {name: form[name].strip() for name in _TEXTS}
        values |= {name: tuple(form[name].split()) for name in ("repositories", "tags")}
        values |= {name: name in form.all("options") for name in _FLAGS}
        new = parse_values(values, NewReplicationRule)
        await page.site.replication.rules.add(page.actor, new)
        return rule_address(new.name)

    defaults = prefilled(
        direction="push", repositories="*", tags="*", destination="{repository}", interval="3600", concurrency="2"
    )
    return await action_page(
        page,
        "admin-replication-new.html",
        REPLICATION,
        work,
        Flash.REPLICATION_ADDED,
        rule=None,
        defaults=defaults,
        chosen=["override", "events"],
        back=REPLICATION,
    )


async def rule(page: PageRequest) -> Response:
    """Show a rule, what is behind, and what was done."""
    found = await page.site.replication.rules.status(page.actor, page.request.path_params["rule"])
    return administration_page(
        page, "admin-replication-rule.html", REPLICATION, found=found, rule=found.rule, rule_link=rule_address
    )


async def change(page: PageRequest) -> Response:
    """Show the form that changes a rule, or change the rule."""
    known = (await page.site.replication.rules.status(page.actor, page.request.path_params["rule"])).rule

    async def work(form: Form) -> str:
        values: dict[str, object] = {name: form[name].strip() for name in ("destination", "interval", "concurrency")}
        values |= {name: tuple(form[name].split()) for name in ("repositories", "tags")}
        chosen = form.all("options")
        values |= {name: name in chosen for name in (*_FLAGS, "enabled")}
        username, password = form["username"].strip(), form["password"]
        # An empty password means the one that is stored, as long as the user name is the same.
        if password or username != known.username:
            values |= {"username": username, "password": password}
        await page.site.replication.rules.change(page.actor, known.name, parse_values(values, ReplicationRuleChange))
        return rule_address(known.name)

    texts = {name: str(getattr(known, name)) for name in ("username", "destination", "interval", "concurrency")}
    lists = {name: " ".join(getattr(known, name)) for name in ("repositories", "tags")}
    chosen = [name for name in (*_FLAGS, "enabled") if getattr(known, name)]
    values = {
        "rule": known,
        "defaults": prefilled(**texts, **lists),
        "chosen": chosen,
        "back": rule_address(known.name),
    }
    return await action_page(page, "admin-replication-new.html", REPLICATION, work, Flash.REPLICATION_CHANGED, **values)


async def run(page: PageRequest) -> Response:
    """Let both sides be compared now, and retry what failed."""
    await page.form()
    found = await page.site.replication.rules.start(page.actor, page.request.path_params["rule"])
    return page.redirect(rule_address(found.name), Flash.REPLICATION_STARTED)


async def remove(page: PageRequest) -> Response:
    """Remove a rule."""
    await page.form()
    await page.site.replication.rules.remove(page.actor, page.request.path_params["rule"])
    return page.redirect(REPLICATION, Flash.REPLICATION_REMOVED)


PAGES = (
    PageRoute(REPLICATION, rules, get=HubAction.VIEW_REPLICATION),
    PageRoute(f"{REPLICATION}/new", new_rule, get=HubAction.ADD_REPLICATION, post=HubAction.ADD_REPLICATION),
    PageRoute(f"{REPLICATION}/rules/{{rule}}", rule, get=HubAction.VIEW_REPLICATION),
    PageRoute(
        f"{REPLICATION}/rules/{{rule}}/change",
        change,
        get=HubAction.CHANGE_REPLICATION,
        post=HubAction.CHANGE_REPLICATION,
    ),
    PageRoute(f"{REPLICATION}/rules/{{rule}}/run", run, post=HubAction.RUN_REPLICATION),
    PageRoute(f"{REPLICATION}/rules/{{rule}}/remove", remove, post=HubAction.REMOVE_REPLICATION),
)
