"""Calls that leave no entry, by the reason: they only read, or no client makes them."""

INTERNAL = {
    "access": "decides for the services",
    "credentials": "only checks credentials",
    "descriptions": "renders what repositories.edit saved",
    "keys": "signs, and replaces its keys by time",
    "liveness": "asks whether the database responds",
    "mail_queue": "sends messages",
    "mailer": "sends messages",
    "settings": "the settings",
    "tag_log_sequencer": "appends to the tag log in the background",
    "builds.base_image_watch": "starts builds in the background",
    "builds.keys": "the same as keys",
    "builds.queue": "behind builds and workers",
    "builds.registry_listener": "called by the registry",
    "builds.scheduler": "starts builds by time",
    "builds.secret_box": "seals secrets",
    "builds.settings": "the settings",
    "builds.worker_token": "a setting",
    "builds.workers": "workers report what became of a build; the registry records what they push",
    "forges.deliveries": "forges report pushes; the deliveries are listed with the webhook",
    "forges.statuses": "sends commit statuses in the background",
    "notifications.build_listener": "called by builds",
    "notifications.registry_listener": "called by the registry",
    "notifications.sender": "sends webhooks in the background",
    "registry.access": "decides for the services",
    "registry.contents": "only reads",
    "registry.deletions": "deletes in steps what repositories.delete began",
    "replication.runner": "works in the background on what is behind",
    "registry.garbage": "deletes in the background what nothing refers to",
    "registry.liveness": "the same as liveness",
    "registry.policy": "the settings",
    "registry.verification": "for the command line",
    "registry.database": "the database",
    "registry.listeners": "called by the registry",
}
"""Services that no client calls."""

_BACKGROUND = """
administration.run audit_log.prune audit_log.run builds.builds.queue_ref builds.builds.rebuild
builds.worker_administration.count builds.worker_administration.heartbeats
builds.worker_administration.is_connected builds.worker_administration.record
emails.ask_for_confirmation emails.password_changed forges.webhooks.remove_orphans forges.webhooks.run
hub_administration.takedowns.take_down_in password_resets.run password_resets.send registry.content_removal.remove
registry.manifests.add registry.manifests.remove registry.repositories.create registry.repositories.get_or_create
registry.repositories.lock registry.tags.move registry.tags.record registry.tags.remove
registry.tags.require_all_mutable registry.tags.require_mutable renames.follow_all renames.run teams.apply_all
teams.run transfers.transfer_in
"""

BACKGROUND = frozenset(_BACKGROUND.split())
"""Calls of background tasks and other services: those have or begin the transaction, and record the change."""

_READS = """
administration.contents audit_log.entries audit_log.export builds.builds.badge builds.builds.find builds.builds.get
builds.builds.log builds.builds.trigger_calls builds.configurations.check builds.configurations.exists
builds.configurations.get builds.configurations.managed builds.configurations.of_account builds.configurations.preview
builds.configurations.secret_names builds.queue_administration.list builds.worker_administration.list
collaborators.invitations collaborators.list confirmations.passkey_options confirmations.require
confirmations.require_on_hub emails.find emails.is_taken emails.state
forges.linked_accounts.authorization_url forges.linked_accounts.client_of
forges.linked_accounts.get forges.linked_accounts.list_own forges.linked_accounts.refs
forges.linked_accounts.refs_of_url forges.linked_accounts.repositories forges.linked_accounts.repository
forges.webhooks.get forges.webhooks.list_deliveries hub_administration.accounts.find hub_administration.accounts.get
hub_administration.blocked_digests.list hub_administration.blocked_names.list hub_administration.garbage.runs
hub_administration.garbage.state hub_administration.overview.get hub_administration.reports.get
hub_administration.reports.list hub_administration.repositories.find hub_administration.repositories.get
hub_administration.settings.list hub_administration.storage.report hub_administration.takedowns.list
identities.begin_confirmation identities.begin_link identities.begin_sign_in identities.confirmation_means
identities.list identities.unnamed_account images.get invitations.by_link invitations.of_actor
invitations.of_organization mail.list members.list notifications.webhooks.deliveries
notifications.webhooks.of_repository organizations.account organizations.get organizations.may_create
organizations.of_actor organizations.role password_resets.user pending_sign_ins.get pending_sign_ins.passkey_options
personal_tokens.get personal_tokens.list registry.blobs.get registry.blobs.locate registry.blobs.read
registry.catalog.names registry.manifests.get registry.referrers.of registry.repositories.get registry.tags.history
registry.tags.immutable_patterns registry.tags.names registry.uploads.get replication.rules.backlog
replication.rules.list replication.rules.status renames.former_accounts renames.redirects
repositories.get repositories.in_namespace repositories.may_write repositories.newest repositories.of_actor robots.get
robots.list search.find second_factors.get second_factors.new_app second_factors.passkey_options
second_factors.same_app sessions.actor sessions.check_password sessions.list tag_log.bundle tag_log.checkpoint
tag_log.consistency tag_log.inclusion tag_log.key tag_log.of_tag tag_log.tile tags.get tags.history tags.immutable
tags.list teams.get teams.grants teams.list teams.members transfers.offer transfers.offers_to trust_rules.get
trust_rules.list users.get users.list users.me
"""

READS = frozenset(_READS.split())
"""Calls that change nothing, except that they may count guesses and note the last use of a credential."""

NO_ENTRY = {
    "emails.send_again": "sends a message to the account itself",
    "password_resets.request": "anyone can ask for a message to an account, which changes nothing until it is used",
    "pending_sign_ins.by_code": "a step of a sign-in; sessions.start records it",
    "pending_sign_ins.by_passkey": "a step of a sign-in; sessions.start records it",
    "pending_sign_ins.by_passkey_alone": "a step of a sign-in; sessions.start records it",
    "tokens.issue": "each docker command gets one; the token that it comes from is recorded",
    "tokens.renew": "each docker command gets one",
    "builds.builds.trigger": "its last calls are listed with the trigger's address; the build names it as its cause",
    "notifications.webhooks.record_callback": "a receiver reports what it did with a delivery, which is listed",
    "registry.uploads.start": "the upload has not arrived",
    "registry.uploads.append": "the upload has not arrived",
    "registry.uploads.cancel": "the upload has not arrived",
    "registry.uploads.finish": "the same as registry.uploads.put",
}
"""Calls of clients that change something and leave no entry, with the reason."""

ELSEWHERE = {
    "confirmations.by_identity": "tests/unit/hub/test_audit_log.py",
    "identities.complete": "tests/unit/hub/test_audit_log.py",
    "identities.create_account": "tests/unit/hub/test_audit_log.py",
    "identities.unlink": "tests/unit/hub/test_audit_log.py",
}
"""Calls whose entries another test finds, because they need a real identity provider."""
