"""The pages on which administrators find, change, block and delete accounts of users and organizations."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.accounts import MAX_BEGINNING, RolesChange
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.accounts.plan import Plan
from hythe.hub.accounts.user_administration import MAX_BLOCK_REASON, described
from hythe.hub.accounts.users import PlanChange
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.roles import HubRole
from hythe.hub.sql.accounts import Account
from hythe.settings import format_bytes, parse_bytes
from hythe.web.flashes import Flash
from hythe.web.routes.administration import action_page, administration_page, searched_text
from hythe.web.routes.form import Form, FormRejected, parse_values, prefilled, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

ACCOUNTS = "/admin/accounts"

LIMITS = Plan.__struct_fields__
"""The fields of the form of a plan; an empty one is no limit."""

USER = "user"
"""The role of those who have none on the hub."""

ROLES = frozenset({USER, *(role.value for role in HubRole)})


def account_address(name: str) -> str:
    """Return the path of the page of an account."""
    return f"{ACCOUNTS}/{quote(name)}"


async def accounts(page: PageRequest) -> Response:
    """Find accounts by the beginning of their names or e-mail addresses."""
    text, kind, role = searched_text(page, MAX_BEGINNING), None, None
    with suppress(ValueError):
        kind = AccountKind(page.request.query_params.get("kind", ""))
    with suppress(ValueError):
        role = HubRole(page.request.query_params.get("kind", ""))
    chosen = kind or role
    query = {"q": text, "kind": chosen.value if chosen else ""}
    return administration_page(
        page,
        "admin-accounts.html",
        ACCOUNTS,
        prefilled(**query),
        listing=await page.site.hub.hub_administration.accounts.find(page.actor, text, paging_of(page), kind, role),
        page_link=page_link(ACCOUNTS, **query),
    )


async def account(page: PageRequest) -> Response:
    """Show an account, with the forms that change it."""
    return await _account_page(page)


async def _found(page: PageRequest) -> Account:
    """Return the account in the address. Raises NotFound."""
    return await page.site.hub.hub_administration.accounts.get(page.actor, page.request.path_params["account"])


async def _account_page(page: PageRequest, rejected: FormRejected | None = None) -> Response:
    """Show an account. ``rejected``: one of its forms with errors, whose values are shown again."""
    found = await _found(page)
    user = await page.site.hub.users.get(page.actor, found.name)
    form = prefilled(role=_role(found), **_limits(user.plan))
    if rejected is not None:
        form = Form({**form.fields, **rejected.form.fields}, rejected.form.errors)
    address, members = account_address(found.name), None
    if found.kind is AccountKind.ORGANIZATION:
        members = await page.site.hub.members.list(page.actor, found.name, paging_of(page))
    return administration_page(
        page,
        "admin-account.html",
        ACCOUNTS,
        form,
        rejected.status if rejected else 200,
        account=found,
        user=user,
        members=members,
        page_link=page_link(address),
        address=address,
    )


def _role(found: Account) -> str:
    if found.administrator:
        return HubRole.ADMINISTRATOR.value
    return HubRole.CURATOR.value if found.curator else USER


def _limits(plan: Plan) -> Mapping[str, str]:
    """Return the limits as the form shows them."""
    texts = {}
    for name in LIMITS:
        limit: int | None = getattr(plan, name)
        texts[name] = "" if limit is None else str(limit)
        if limit is not None and name == "storage_limit":
            # A size that has no short form is shown in bytes, so that saving the form changes nothing.
            short = format_bytes(limit)
            with suppress(ValueError):
                texts[name] = short if parse_bytes(short) == limit else str(limit)
    return texts


async def set_plan(page: PageRequest) -> Response:
    """Change the limits of an account."""
    form = await page.form()
    found = await _found(page)
    try:
        await submitted(form, page.site.hub.users.set_plan(page.actor, found.name, _plan(form)))
    except Invalid as error:
        return await _account_page(page, FormRejected(form.with_errors(error.fields), error.status))
    except FormRejected as rejected:
        return await _account_page(page, rejected)
    return page.redirect(account_address(found.name), Flash.PLAN_SAVED)


def _plan(form: Form) -> PlanChange:
    """Return the limits in a form. Raises Invalid."""
    values: dict[str, object] = {name: form[name].strip() or None for name in LIMITS}
    size = values["storage_limit"]
    if isinstance(size, str):
        try:
            values["storage_limit"] = parse_bytes(size)
        except ValueError as error:
            raise Invalid({"storage_limit": "must be a size such as 50GiB, or empty"}) from error
    return parse_values(values, PlanChange)


async def set_role(page: PageRequest) -> Response:
    """Make an account a curator or an administrator, or end that."""
    form = await page.form()
    found = await _found(page)
    role = form["role"]
    if role not in ROLES:
        return await _account_page(page, FormRejected(form.with_errors({"role": "must be one of the choices"}), 422))
    change = RolesChange(administrator=role == HubRole.ADMINISTRATOR.value, curator=role == HubRole.CURATOR.value)
    try:
        await submitted(form, page.site.hub.hub_administration.accounts.set_roles(page.actor, found.name, change))
    except FormRejected as rejected:
        return await _account_page(page, rejected)
    return page.redirect(account_address(found.name), Flash.HUB_ROLE_SAVED)


async def appoint_owner(page: PageRequest) -> Response:
    """Make a user an owner of an organization."""
    form = await page.form()
    found = await _found(page)
    try:
        await submitted(form, page.site.hub.members.appoint_owner(page.actor, found.name, form["owner"].strip()))
    except NotFound:
        return await _account_page(page, FormRejected(form.with_errors({"owner": "is not the name of a user"}), 422))
    except FormRejected as rejected:
        return await _account_page(page, rejected)
    return page.redirect(account_address(found.name), Flash.OWNER_APPOINTED)


async def sign_out(page: PageRequest) -> Response:
    """End every session and login of an account."""
    await page.form()
    found = await _found(page)
    await page.site.hub.hub_administration.accounts.sign_out(page.actor, found.name)
    return page.redirect(account_address(found.name), Flash.USER_SIGNED_OUT)


async def block(page: PageRequest) -> Response:
    """Ask for the reason, and block an account."""
    found = await _found(page)

    async def work(form: Form) -> str:
        await page.site.hub.administration.block(page.actor, found.name, form["reason"])
        return account_address(found.name)

    return await _action_page(
        page, "admin-account-block.html", found, work, Flash.USER_BLOCKED, max_reason=MAX_BLOCK_REASON
    )


async def unblock(page: PageRequest) -> Response:
    """Unblock an account."""
    await page.form()
    found = await _found(page)
    await page.site.hub.administration.unblock(page.actor, found.name)
    return page.redirect(account_address(found.name), Flash.USER_UNBLOCKED)


async def reset_second_factors(page: PageRequest) -> Response:
    """Ask for a confirmation, and remove all second factors of an account."""
    found = await _found(page)

    async def work(_form: Form) -> str:
        await page.site.hub.second_factors.reset(page.actor, found.name)
        return account_address(found.name)

    return await _action_page(page, "admin-account-second-factors.html", found, work, Flash.SECOND_FACTORS_RESET)


async def delete(page: PageRequest) -> Response:
    """Show what an account has, ask for its name, and delete it if it was typed."""
    found = await _found(page)
    contents = await page.site.hub.administration.contents(page.actor, found.name)

    async def work(form: Form) -> str:
        await page.site.hub.administration.delete(page.actor, found.name, form["confirm"].strip())
        return ACCOUNTS

    return await _action_page(
        page, "admin-account-delete.html", found, work, Flash.USER_DELETED, contents=described(contents)
    )


async def _action_page(
    page: PageRequest,
    template: str,
    found: Account,
    work: Callable[[Form], Awaitable[str]],
    flash: Flash,
    **values: Any,
) -> Response:
    address = account_address(found.name)
    return await action_page(page, template, ACCOUNTS, work, flash, account=found, address=address, **values)


_ACCOUNT = f"{ACCOUNTS}/{{account}}"

PAGES = (
    PageRoute(ACCOUNTS, accounts, get=HubAction.VIEW_USERS),
    PageRoute(_ACCOUNT, account, get=HubAction.VIEW_USERS),
    PageRoute(f"{_ACCOUNT}/plan", set_plan, post=HubAction.SET_PLAN),
    PageRoute(f"{_ACCOUNT}/role", set_role, post=HubAction.SET_HUB_ROLE),
    PageRoute(f"{_ACCOUNT}/owners", appoint_owner, post=HubAction.APPOINT_OWNER),
    PageRoute(f"{_ACCOUNT}/sign-out", sign_out, post=HubAction.SIGN_OUT_USER),
    PageRoute(f"{_ACCOUNT}/block", block, get=HubAction.BLOCK_USER, post=HubAction.BLOCK_USER),
    PageRoute(f"{_ACCOUNT}/unblock", unblock, post=HubAction.UNBLOCK_USER),
    PageRoute(
        f"{_ACCOUNT}/reset-second-factors",
        reset_second_factors,
        get=HubAction.RESET_SECOND_FACTORS,
        post=HubAction.RESET_SECOND_FACTORS,
    ),
    PageRoute(f"{_ACCOUNT}/delete", delete, get=HubAction.DELETE_USER, post=HubAction.DELETE_USER),
)
