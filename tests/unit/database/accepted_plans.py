"""What statements may do to more rows than they return, with the reasons."""

from hythe.replication.sql.second_site import TABLES

_OF_SECOND_SITES = tuple(
    f"scans {table.name}{index}"
    for table in TABLES
    for index in (
        "",
        *(f" by sqlite_autoindex_{table.name}_{number}" for number in (1, 2, 3)),
        f" by {table.primary_key.name}",
        f" by ix_{table.name}_repository",
    )
)

_REASONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Sorts the few rows of one account, repository or build configuration.": {
        "builds.sql.base_image_watch.built_from": ("sorts",),
        "builds.sql.builds.end": ("sorts",),
        "builds.sql.builds.last_of_branch": ("sorts",),
        "builds.sql.builds.latest_results": ("counts", "sorts"),
        "builds.sql.configurations._rules": ("sorts",),
        "builds.sql.configurations.trigger_calls": ("sorts",),
        "builds.sql.linked_accounts.of_user": ("sorts",),
        "hub.sql.former_names._OWN": ("sorts",),
        "hub.sql.identities._OF_USER": ("sorts",),
        "hub.sql.organizations._OWNED_LOCK": ("sorts",),
        "hub.sql.passkeys._OF_USER": ("sorts",),
        "hub.sql.tokens._NEWEST_FIRST": ("sorts",),
        "notifications.sql.webhooks.next_in_chain": ("sorts",),
        "notifications.sql.webhooks.of_repository": ("sorts",),
        "registry.sql.repositories._CONTAINING": ("sorts",),
        "registry.sql.tags._POINTING_AT": ("sorts",),
        "registry.sql.tags._POINTING_AT_AFTER": ("sorts",),
        "registry.sql.usage._IDLE_SESSIONS": ("sorts",),
    },
    "Adds up what one user, team or repository has, which limits bound.": {
        "hub.sql.access_context._CONTEXT": ("counts",),
        "hub.sql.organizations._COUNT": ("counts",),
        "hub.sql.second_factors._CODE_COUNT": ("counts",),
        "hub.sql.team_repositories._APPLY_ONE": ("counts",),
        "hub.sql.team_repositories._APPLY_SOME": ("counts", "sorts"),
        "hub.sql.team_repositories._APPLY_TO_NEW": ("counts", "sorts"),
    },
    "Adds up the blobs of a repository that moves, and changes their rows.": {
        "registry.sql.renames._MOVED": ("counts",),
    },
    "Sorts the repositories that are shared with one user: one by one, or in lists of at most FEW.": {
        **{
            f"hub.sql.repository_lists.{name}._{part}": ("sorts",)
            for name in ("COLLABORATIONS", "GRANTED_ELSEWHERE", "GRANTED_IN_NAMESPACE")
            for part in ("after", "before", "count", "first", "keys", "nth")
        },
        "hub.sql.repository_lists._GRANTED_NAMES": ("sorts",),
        "hub.sql.repository_lists._COLLABORATION_NAMES": ("sorts",),
    },
    "Examines the builds that wait or run, which limits bound.": {
        "builds.sql.queue._RUNNING_BY_ACCOUNT": ("counts", "sorts"),
        "builds.sql.queue._START_ORDER": ("builds an index", "sorts"),
        "builds.sql.queue.candidate": ("builds an index", "counts", "sorts"),
        "builds.sql.queue.unfinished": ("sorts",),
    },
    "Examines the days of one account's limit, or the upload sessions of one namespace, which a limit bounds.": {
        "builds.sql.builds.add": ("counts",),
        "builds.sql.usage.of_account": ("counts",),
        "registry.sql.usage._USAGE": ("counts",),
    },
    "Reads all accounts and repositories: a second site takes them over as a whole.": {
        "replication.sql.second_site._rows": _OF_SECOND_SITES,
        "replication.sql.second_site.has_accounts": _OF_SECOND_SITES,
        "replication.sql.second_site._set_sequences": ("counts", *_OF_SECOND_SITES),
    },
    "The table is small: a row for each key, each server's installation, each network of an account, or each of at \
most MAX_PATTERNS patterns or MAX_RULES rules.": {
        "hub.sql.blocked_names._ALL": (
            "scans blocked_names by pk_blocked_names",
            "scans blocked_names by sqlite_autoindex_blocked_names_1",
        ),
        "hub.sql.blocked_names._COUNT": (
            "counts",
            "scans blocked_names by pk_blocked_names",
            "scans blocked_names by sqlite_autoindex_blocked_names_1",
        ),
        "hub.sql.blocked_names._MATCHING": ("scans blocked_names",),
        "hub.sql.keys.listed": ("scans signing_keys", "sorts"),
        "hub.sql.keys.retire_all": ("scans signing_keys",),
        "hub.sql.sign_in_failures.remember_network": ("sorts",),
        **{
            f"replication.sql.rules.{name}": (
                "counts",
                "scans replication_rules by pk_replication_rules",
                "scans replication_rules by uq_replication_rules_name",
                "scans replication_rules by sqlite_autoindex_replication_rules_1",
            )
            for name in ("_ALL", "_COUNT")
        },
        "registry.sql.installation._SET_BLOB_STORE": ("scans installation",),
        "registry.sql.installation._SET_KEY_FINGERPRINT": ("scans installation",),
        "registry.sql.installation._SET_KIND": ("scans installation",),
    },
    "The table is small: the last runs of garbage collection, of which MAX_RUNS are kept, or the workers of a week.": {
        "builds.sql.workers._LISTED": ("scans build_workers by ix_build_workers_seen_at",),
        **dict.fromkeys(
            (
                *(f"hub.sql.garbage.LIST._{part}" for part in ("count", "first", "keys", "nth")),
                "registry.sql.garbage_collection._FORGET_OLD",
            ),
            ("scans garbage_collections", "scans garbage_collections by pk_garbage_collections"),
        ),
    },
    "Examines what waits for deletion, which is worked off.": {
        "hub.sql.password_resets.oldest": (
            "scans password_reset_requests",
            "scans password_reset_requests by pk_password_reset_requests",
        ),
        "registry.sql.deletions._ALL_UNMARKED": (
            "scans unmarked_dependents by sqlite_autoindex_unmarked_dependents_1",
            "scans unmarked_dependents by pk_unmarked_dependents",
        ),
        "registry.sql.deletions._PENDING": ("sorts",),
        "registry.sql.deletions._PENDING_IN": ("sorts",),
    },
    "Stops at the end of the page in the order of an index; PostgreSQL takes a bound limit for a tenth of all.": {
        "builds.sql.base_image_watch.due": ("sorts",),
        "builds.sql.configurations._read": ("scans users", "sorts"),
        "hub.sql.audit._LAST": ("scans audit_entries", "scans audit_entries by pk_audit_entries"),
        **{
            f"hub.sql.blocked_digests.LIST._{part}": (
                "scans blocked_digests by pk_blocked_digests",
                "scans blocked_digests by sqlite_autoindex_blocked_digests_1",
            )
            for part in ("count", "first", "keys", "nth")
        },
        "hub.sql.mail.NEWEST._count": ("scans mail_messages by ix_mail_messages_created_at_id",),
        "hub.sql.mail.NEWEST._first": ("scans mail_messages by ix_mail_messages_created_at_id",),
        "hub.sql.mail.NEWEST._keys": ("scans mail_messages by ix_mail_messages_created_at_id",),
        "hub.sql.mail.NEWEST._nth": ("scans mail_messages by ix_mail_messages_created_at_id",),
        "hub.sql.repositories.NEWEST_PUBLIC._after": ("scans build_configurations",),
        "hub.sql.repositories.NEWEST_PUBLIC._before": ("scans build_configurations",),
        "hub.sql.repositories.NEWEST_PUBLIC._count": (
            "scans hub_repositories by ix_hub_repositories_public_created_at",
        ),
        "hub.sql.repositories.NEWEST_PUBLIC._first": (
            "scans build_configurations",
            "scans hub_repositories by ix_hub_repositories_public_created_at",
        ),
        "hub.sql.repositories.NEWEST_PUBLIC._keys": (
            "scans hub_repositories by ix_hub_repositories_public_created_at",
        ),
        "hub.sql.repositories.NEWEST_PUBLIC._nth": ("scans hub_repositories by ix_hub_repositories_public_created_at",),
        "hub.sql.users.BY_NAME._count": ("scans users by sqlite_autoindex_users_1", "scans users by uq_users_name"),
        "hub.sql.users.BY_NAME._first": ("scans users by sqlite_autoindex_users_1", "scans users by uq_users_name"),
        "hub.sql.users.BY_NAME._keys": ("scans users by sqlite_autoindex_users_1", "scans users by uq_users_name"),
        "hub.sql.users.BY_NAME._nth": ("scans users by sqlite_autoindex_users_1", "scans users by uq_users_name"),
    },
    "Sorts and completes at most FEW repositories that are shared with one user.": {
        **{
            f"hub.sql.repository_lists.GRANTED_ELSEWHERE._{part}": ("scans build_configurations", "sorts")
            for part in ("after", "before", "first")
        },
    },
    "Runs in a thread on SQLite, with a limit of time.": {
        "hub.sql.search._page": (
            "scans hub_repositories by ix_hub_repositories_internal_name",
            "scans hub_repositories by ix_hub_repositories_public_created_at",
            "scans hub_repositories by ix_hub_repositories_public_pulls",
            "scans hub_repositories by ix_hub_repositories_public_stars",
            "scans hub_repositories by uq_hub_repositories_namespace_id_name",
            "scans namespaces",
            "scans namespaces by pk_namespaces",
            "sorts",
        ),
    },
    "Runs in a process of its own: hythe admin gc --dry-run, or verify.": {
        "registry.sql.gc_dry_run._STALE_UPLOADS": ("counts",),
        "registry.sql.gc_dry_run._UNCLAIMED": ("counts",),
        "registry.sql.gc_dry_run._USES_BY_MANIFESTS": ("counts",),
        "registry.sql.gc_dry_run._USES_OF_BLOBS": ("counts",),
        "registry.sql.usage_check._COMPARED": ("counts", "sorts"),
        "registry.sql.usage_check._COUNT_BLOBS": ("counts", "sorts"),
    },
    "Adds up a row for each account or namespace, for a report to administrators; an index would cost each push.": {
        "hub.sql.overview._ACCOUNTS": ("counts", "scans users"),
        "hub.sql.overview._STORED": ("counts", "scans namespace_usage"),
        "hub.sql.overview._WAITING": ("counts",),
        "hub.sql.storage._LARGEST": ("scans namespace_usage", "sorts"),
        "registry.sql.totals._TOTALS": ("counts", "scans namespace_usage"),
        "registry.sql.totals._UPLOADS": ("counts", "scans uploads"),
        "hub.sql.storage._TOTAL": ("counts", "scans namespace_usage"),
    },
    "Adds up all mirrored blobs between two deletions of a full mirror; in a thread on SQLite.": {
        "registry.sql.mirror._SIZE": (
            "counts",
            "scans blobs",
            "scans mirrored_manifests by pk_mirrored_manifests",
            "scans mirrored_manifests by sqlite_autoindex_mirrored_manifests_1",
            "scans repository_blobs by pk_repository_blobs",
        ),
    },
    "The few tokens of CI jobs that have not expired; they have two partial indexes, of the same rows.": {
        "hub.sql.tokens.remove_of_rule": ("scans personal_tokens by ix_personal_tokens_expires_at",),
    },
    "The one row of a token; without parameters PostgreSQL expects several.": {
        "hub.sql.tokens._REFRESH_HOLDER": ("scans personal_tokens by pk_personal_tokens", "sorts"),
    },
}

ACCEPTED = {name: frozenset(what) for names in _REASONS.values() for name, what in names.items()}
"""What each statement may do, on either engine."""
