"""The table of all kinds of forges: a new one is a module and a row here (docs/recipes.md, "Add a forge")."""

from typing import NamedTuple

from hythe.forges.bitbucket import Bitbucket, BitbucketWebhooks
from hythe.forges.gitea import Gitea, GiteaWebhooks
from hythe.forges.github import GitHub, GitHubWebhooks
from hythe.forges.gitlab import GitLab, GitLabWebhooks
from hythe.forges.port import Headers, WebhookFormat
from hythe.forges.rest import RestForge
from hythe.forges.source_ref import GIT, ForgeKind


class Adapter(NamedTuple):
    """What the hub uses of one kind of forge; ``aliases`` are other names for it in the setting ``forges``."""

    forge: type[RestForge]
    webhooks: WebhookFormat
    aliases: tuple[str, ...] = ()


ADAPTERS: dict[ForgeKind, Adapter] = {
    # Before GitHub: Gitea and Forgejo send GitHub's webhook headers, too.
    "gitea": Adapter(Gitea, GiteaWebhooks(), aliases=("forgejo",)),
    "github": Adapter(GitHub, GitHubWebhooks()),
    "bitbucket": Adapter(Bitbucket, BitbucketWebhooks()),
    "gitlab": Adapter(GitLab, GitLabWebhooks()),
}


def source_kinds() -> tuple[ForgeKind, ...]:
    """Return the kinds that a build's source can have."""
    return (*ADAPTERS, GIT)


def adapters_by_name() -> dict[str, Adapter]:
    """Return the adapters by every name that the setting ``forges`` can use."""
    return {name: adapter for kind, adapter in ADAPTERS.items() for name in (kind, *adapter.aliases)}


def webhook_format(headers: Headers) -> tuple[ForgeKind, WebhookFormat] | None:
    """Return the kind of forge that sent a webhook request, or None if the headers match none."""
    matching = ((kind, adapter.webhooks) for kind, adapter in ADAPTERS.items() if adapter.webhooks.matches(headers))
    return next(matching, None)
