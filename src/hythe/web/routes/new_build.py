"""Setting up Trusted Builds: where the code is, which repository, and what builds as what."""

from dataclasses import dataclass, replace

from starlette.responses import Response

from hythe.builds.configuration import BuildSource, Forge, NewBuildConfiguration
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.routes.configurations import set_up as set_up_builds
from hythe.builds.rules import Rule, RulePreview, SourceRef, SourceType
from hythe.forges.errors import ForgeError
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.namespaces import canonical_name
from hythe.hub.repositories import NewRepository
from hythe.hub.routes.parsing import parse_fields
from hythe.web.notices import Notice
from hythe.web.routes.form import Form, filled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.start import paging_of

VERSION_TAGS = Rule(source_type=SourceType.TAG, source=r"/^v?([0-9]+(?:\.[0-9]+)*)$/", tags=r"{\1}")
"""What "version tags, too" adds: v1.2.3 builds as 1.2.3."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A source that was chosen: what git clones, and its branches and tags as far as they can be seen."""

    source: BuildSource
    title: str
    refs: tuple[SourceRef, ...] = ()
    unseen: str = ""


async def choose_place(visit: PageRequest) -> Response:
    """Step 1: a linked account, or any git address."""
    visit.require_account()
    return visit.page("new-build.html", links=await visit.site.sources.links.listed(visit.actor))


async def choose_repository(visit: PageRequest) -> Response:
    """Step 2: a repository of the linked account."""
    visit.require_account()
    links = visit.site.sources.links
    link = await links.get(visit.actor, visit.request.path_params["link"])
    query = visit.request.query_params.get("q", "")
    number = paging_of(visit).page
    found = await links.repositories(visit.actor, link.id, query, number)
    return visit.page("new-build-repository.html", link=link, found=found, filter=query, number=number)


async def choose_rules(visit: PageRequest) -> Response:
    """Step 3: name, visibility and rules, with a preview; then everything is set up."""
    visit.require_account()
    form = Form()
    if visit.request.method == "POST":
        form = await visit.form()
    try:
        chosen = await _chosen(visit, form)
    except (ForgeError, Invalid) as error:
        return visit.page("new-build.html", error.status, links=await _links(visit), problem=str(error))
    if not form.fields:
        return _rules_page(visit, chosen, _first_form(chosen))
    try:
        rules = rules_of(form)
        lines = await visit.site.builds.configurations.preview(visit.actor, rules, chosen.refs)
        if form["action"] != "set up":
            return _rules_page(visit, chosen, form, lines)
        return await set_up(
            visit, form, NewBuildConfiguration(source=chosen.source, rules=rules, credentials=form["credentials"])
        )
    except (Invalid, Taken) as error:
        return _rules_page(visit, chosen, form.wrong(error.fields))
    except (InvalidBuildConfiguration, BuildConflict, Refused) as error:
        return _rules_page(visit, chosen, form.wrong({"": str(error)}))


async def _links(visit: PageRequest) -> object:
    return await visit.site.sources.links.listed(visit.actor)


async def _chosen(visit: PageRequest, form: Form) -> Chosen:
    """Return the source that the address or the form names; what is linked is asked for its addresses."""
    query = visit.request.query_params
    link, name, url = (form[key] or query.get(key, "") for key in ("link", "repository", "url"))
    if link.isascii() and link.isdigit() and len(link) < 19:
        return await _linked(visit, int(link), name)
    if not url:
        raise Invalid({"url": "is the address that git clones"})
    chosen = Chosen(BuildSource(url=url.strip()), url.strip())
    try:
        branch, refs = await visit.site.sources.forges.advertised(url.strip())
    except ForgeError as error:
        return replace(chosen, unseen=str(error))
    return Chosen(BuildSource(url=url.strip(), default_branch=branch or "main"), url.strip(), refs)


async def _linked(visit: PageRequest, linked_account_id: int, name: str) -> Chosen:
    links = visit.site.sources.links
    link = await links.get(visit.actor, linked_account_id)
    found = await links.repository(visit.actor, linked_account_id, name)
    source = BuildSource(
        url=found.clone_url,
        forge=Forge(link.kind),
        forge_repository=found.name,
        linked_account_id=linked_account_id,
        default_branch=found.default_branch,
    )
    return Chosen(source, found.name, await links.refs(visit.actor, linked_account_id, name))


def _first_form(chosen: Chosen) -> Form:
    name = chosen.title.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
    return filled(
        name=name,
        visibility="public",
        source_type="branch",
        source=chosen.source.default_branch,
        tags="latest",
        dockerfile="Dockerfile",
        context="/",
    )


def rules_of(form: Form) -> tuple[Rule, ...]:
    """Return the rules that the form spells. Raises Invalid."""
    names = ("source_type", "source", "tags", "dockerfile", "context")
    rule = parse_fields({name: form[name].strip() for name in names}, Rule, strict=False)
    return (rule, VERSION_TAGS) if form["versions"] else (rule,)


def _rules_page(visit: PageRequest, chosen: Chosen, form: Form, lines: list[RulePreview] | None = None) -> Response:
    status = 422 if form.errors else 200
    return visit.page("new-build-rules.html", status, chosen=chosen, form=form, lines=lines)


async def set_up(visit: PageRequest, form: Form, configuration: NewBuildConfiguration) -> Response:
    """Make the repository that the form names where there is none, set up its builds and install the webhook.

    Raises Invalid, InvalidBuildConfiguration, Taken, Conflict, Refused.
    """
    name = form["name"].strip()
    new = parse_fields(
        {"namespace": visit.name, "name": name, "visibility": form["visibility"]}, NewRepository, strict=False
    )
    repository = canonical_name(f"{visit.name}/{name}")
    await set_up_builds(visit.site.builds, visit.site.hub, visit.actor, repository, configuration, new.visibility)
    await visit.site.sources.hooks.install(visit.actor, repository, visit.site.url(visit.request))
    return visit.redirect(f"/{repository}/-/build-configuration", Notice.BUILDS_SET_UP)
