"""Create a Trusted Build in three steps: choose the source, its repository, and the build rules."""

from dataclasses import dataclass, replace

from starlette.responses import Response

from hythe.builds.configuration import BuildSource, NewBuildConfiguration
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.forge_integration.errors import ForgeRequestFailed
from hythe.builds.routes.configurations import configure
from hythe.builds.rules import Rule, RulePreview
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.routes.parsing import parse_fields
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, prefilled, row_id
from hythe.web.routes.navigation import paging_of
from hythe.web.routes.organizations import creatable_namespaces
from hythe.web.routes.page_request import PageRequest

VERSION_TAGS = Rule(source_type=SourceType.TAG, source=r"/^v?([0-9]+(?:\.[0-9]+)*)$/", tags=r"{\1}")
"""The rule that "Also build version tags" adds: v1.2.3 builds as 1.2.3."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The chosen source with its branches and tags, or the reason why they could not be listed."""

    source: BuildSource
    title: str
    refs: tuple[SourceRef, ...] = ()
    refs_problem: str = ""


async def choose_source(page: PageRequest) -> Response:
    """Step 1: a linked account or any git URL."""
    return page.render("new-build.html", accounts=await page.site.forges.linked_accounts.list_own(page.actor))


async def choose_repository(page: PageRequest) -> Response:
    """Step 2: a repository of the linked account."""
    accounts = page.site.forges.linked_accounts
    account = await accounts.get(page.actor, page.request.path_params["linked_account"])
    query = page.request.query_params.get("q", "")
    number = paging_of(page).page
    listing = await accounts.repositories(page.actor, account.id, query, number)
    return page.render("new-build-repository.html", account=account, listing=listing, filter=query, number=number)


async def choose_rules(page: PageRequest) -> Response:
    """Step 3: name, visibility and rules, with a preview; then create the configuration."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
    try:
        chosen = await _chosen(page, form)
    except (ForgeRequestFailed, Invalid) as error:
        return page.render("new-build.html", error.status, accounts=await _accounts(page), problem=str(error))
    if not form.fields:
        return await _rules_page(page, chosen, _default_form(chosen))
    try:
        rules = rules_of(form)
        lines = await page.site.builds.configurations.preview(page.actor, rules, chosen.refs)
        if form["action"] != "create":
            return await _rules_page(page, chosen, form, lines)
        return await create_configuration(
            page, form, NewBuildConfiguration(source=chosen.source, rules=rules, credentials=form["credentials"])
        )
    except (Invalid, Taken) as error:
        return await _rules_page(page, chosen, form.with_errors(error.fields), status=error.status)
    except (InvalidBuildConfiguration, BuildConflict, Refused) as error:
        return await _rules_page(page, chosen, form.with_errors({"": str(error)}), status=error.status)


async def _accounts(page: PageRequest) -> object:
    return await page.site.forges.linked_accounts.list_own(page.actor)


async def _chosen(page: PageRequest, form: Form) -> Chosen:
    """Return the source named by the query or the form. Raises Invalid, ForgeRequestFailed."""
    query = page.request.query_params
    account, name, url = (form[key] or query.get(key, "") for key in ("linked_account", "repository", "url"))
    account_id = row_id(account)
    if account_id is not None:
        return await _linked(page, account_id, name)
    if not url:
        raise Invalid({"url": "is required"})
    chosen = Chosen(BuildSource(url=url.strip()), url.strip())
    try:
        branch, refs = await page.site.forges.linked_accounts.refs_of_url(page.actor, url.strip())
    except ForgeRequestFailed as error:
        return replace(chosen, refs_problem=str(error))
    return Chosen(BuildSource(url=url.strip(), default_branch=branch or "main"), url.strip(), refs)


async def _linked(page: PageRequest, linked_account_id: int, name: str) -> Chosen:
    accounts = page.site.forges.linked_accounts
    account = await accounts.get(page.actor, linked_account_id)
    repository = await accounts.repository(page.actor, linked_account_id, name)
    source = BuildSource(
        url=repository.clone_url,
        forge=account.kind,
        forge_repository=repository.name,
        linked_account_id=linked_account_id,
        default_branch=repository.default_branch,
    )
    return Chosen(source, repository.name, await accounts.refs(page.actor, linked_account_id, name))


def _default_form(chosen: Chosen) -> Form:
    name = chosen.title.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
    return prefilled(
        name=name,
        visibility="public",
        source_type="branch",
        source=chosen.source.default_branch,
        tags="latest",
        dockerfile="Dockerfile",
        context="/",
    )


def rules_of(form: Form) -> tuple[Rule, ...]:
    """Return the rules in the form. Raises Invalid."""
    names = ("source_type", "source", "tags", "dockerfile", "context")
    rule = parse_fields({name: form[name].strip() for name in names}, Rule, strict=False)
    return (rule, VERSION_TAGS) if form["versions"] else (rule,)


async def _rules_page(
    page: PageRequest, chosen: Chosen, form: Form, lines: list[RulePreview] | None = None, status: int = 422
) -> Response:
    """Show the rules; ``status`` is that of a form with errors."""
    namespaces = await creatable_namespaces(page, form["namespace"])
    return page.render(
        "new-build-rules.html",
        status if form.errors else 200,
        chosen=chosen,
        form=form,
        lines=lines,
        namespaces=namespaces,
    )


async def create_configuration(page: PageRequest, form: Form, configuration: NewBuildConfiguration) -> Response:
    """Create the repository if it does not exist, configure its builds and install the webhook.

    Raises Invalid, InvalidBuildConfiguration, Taken, BuildConflict, Refused.
    """
    name, namespace = form["name"].strip(), form["namespace"] or page.name
    new = parse_fields(
        {"namespace": namespace, "name": name, "visibility": form["visibility"]}, NewRepository, strict=False
    )
    new.check()
    repository = canonical_name(f"{namespace}/{name}")
    await configure(page.site.builds, page.site.hub, page.actor, repository, configuration, new.visibility)
    await page.site.forges.webhooks.install(page.actor, repository, page.site.url(page.request))
    return page.redirect(f"/{repository}/-/build-configuration", Flash.BUILDS_CONFIGURED)
