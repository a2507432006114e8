"""The page of a namespace's trust rules: one's own, or an organization's in the query ``namespace``."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.errors import Invalid, Taken
from hythe.hub.tokens.trust_rules import DEFAULT_LIFETIME, NewTrustRule
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_values
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.personal_tokens import DEFAULT_RIGHTS, ROBOT_RIGHTS, given_repositories
from hythe.web.routes.robots import namespace_of_page

GITHUB = "https://token.actions.githubusercontent.com"


async def trust_rules(page: PageRequest) -> Response:
    """List the trust rules, or create one."""
    namespace = namespace_of_page(page)
    if page.request.method != "POST":
        empty = {"rights": DEFAULT_RIGHTS, "issuer": (GITHUB,), "lifetime_minutes": (str(DEFAULT_LIFETIME),)}
        return await _rules_page(page, Form(empty))
    sent = await page.form()
    try:
        await page.site.hub.trust_rules.create(page.actor, namespace, _new_rule(sent))
    except (Invalid, Taken) as error:
        return await _rules_page(page, sent.with_errors(error.fields))
    return page.redirect(f"/account/trust-rules?namespace={quote(namespace)}", Flash.TRUST_RULE_CREATED)


def _new_rule(form: Form) -> NewTrustRule:
    lines = [line.partition("=") for line in form["claims"].splitlines() if line.strip()]
    values = {
        "name": form["name"],
        "issuer": form["issuer"],
        "subject": form["subject"],
        "rights": form.all("rights"),
        "claims": {name.strip(): pattern.strip() for name, _, pattern in lines},
        "repositories": given_repositories(form),
        "lifetime_minutes": form["lifetime_minutes"],
    }
    return parse_values(values, NewTrustRule)


async def _rules_page(page: PageRequest, form: Form) -> Response:
    namespace = namespace_of_page(page)
    return page.render(
        "trust-rules.html",
        422 if form.errors else 200,
        form=form,
        namespace=namespace,
        address_query=f"?namespace={quote(namespace)}",
        rules=await page.site.hub.trust_rules.list(page.actor, namespace),
        audience=page.site.hub.token_exchange.audience,
        rights=ROBOT_RIGHTS,
        tabs=account_tabs("/account/trust-rules"),
    )


async def delete_trust_rule(page: PageRequest) -> Response:
    """Delete a trust rule, and end the tokens that it gave."""
    await page.form()
    namespace = namespace_of_page(page)
    await page.site.hub.trust_rules.delete(page.actor, namespace, page.request.path_params["rule"])
    return page.redirect(f"/account/trust-rules?namespace={quote(namespace)}", Flash.TRUST_RULE_DELETED)
