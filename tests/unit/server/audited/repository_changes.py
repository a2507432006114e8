"""Changes of repositories and their content, and of their names."""

from tests.unit.server.audited.world import Steps, World, change, manifest_of, pieces

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.user import Visibility
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST

EMPTY = str(Digest.of(b"{}"))


@change("repositories.create", HubAction.CREATE_REPOSITORY, "acme/new", namespace="acme")
async def create_repository(world: World) -> Steps:
    yield
    await world.hub.repositories.create(world.ann, NewRepository("acme", "new"))


@change("repositories.edit", HubAction.SET_VISIBILITY, "ann/app", namespace="ann")
async def edit_repository(world: World) -> Steps:
    yield
    await world.hub.repositories.edit(world.ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE))


@change("repositories.delete", HubAction.DELETE_REPOSITORY, "ann/app", namespace="ann")
async def delete_repository(world: World) -> Steps:
    yield
    await world.hub.repositories.delete(world.ann, "ann/app")


@change("registry.repositories.delete", HubAction.DELETE_REPOSITORY, "ann/app", namespace="ann")
async def delete_repository_of_registry(world: World) -> Steps:
    yield
    await world.services.registry.repositories.delete(world.ann, "ann/app")


@change("registry.uploads.put", HubAction.CREATE_REPOSITORY, "ann/pushed", namespace="ann")
async def push_blob(world: World) -> Steps:
    yield
    await world.services.registry.uploads.put(world.ann, "ann/pushed", Digest.of(b"{}"), pieces(b"{}"))


@change("registry.blobs.mount", HubAction.CREATE_REPOSITORY, "ann/pushed", namespace="ann")
async def mount_blob(world: World) -> Steps:
    await world.services.registry.uploads.put(world.ann, "ann/app", Digest.of(b"{}"), pieces(b"{}"))
    yield
    assert await world.services.registry.blobs.mount(world.ann, "ann/pushed", Digest.of(b"{}"), "ann/app")


@change("registry.blobs.delete", HubAction.DELETE_CONTENT, f"ann/app@{EMPTY}", namespace="ann")
async def delete_blob(world: World) -> Steps:
    await world.services.registry.uploads.put(world.ann, "ann/app", Digest.of(b"{}"), pieces(b"{}"))
    yield
    await world.services.registry.blobs.delete(world.ann, "ann/app", Digest.of(b"{}"))


@change("registry.manifests.put", HubAction.MOVE_TAG, "ann/app:1.0", namespace="ann")
async def push_manifest(world: World) -> Steps:
    await world.push(world.ann, "ann/app")
    manifest = manifest_of(b"{}")
    yield
    registry = world.services.registry
    await registry.manifests.put(world.ann, "ann/app", Digest.of(manifest), ("1.0",), manifest, OCI_MANIFEST)


@change(
    "registry.manifests.delete",
    HubAction.DELETE_CONTENT,
    f"ann/app@{Digest.of(manifest_of(b'{}'))}",
    namespace="ann",
)
async def delete_manifest(world: World) -> Steps:
    digest = await world.push(world.ann, "ann/app")
    yield
    await world.services.registry.manifests.delete(world.ann, "ann/app", digest)


@change("registry.tags.delete", HubAction.DELETE_TAG, "ann/app:latest", namespace="ann")
async def delete_tag_of_registry(world: World) -> Steps:
    await world.push(world.ann, "ann/app")
    yield
    await world.services.registry.tags.delete(world.ann, "ann/app", "latest")


@change("registry.tags.restore", HubAction.MOVE_TAG, "ann/app:latest", namespace="ann")
async def restore_tag_of_registry(world: World) -> Steps:
    first = await world.push(world.ann, "ann/app")
    await world.push(world.ann, "ann/app", content=b'{"os":"linux"}')
    yield
    await world.services.registry.tags.restore(world.ann, "ann/app", "latest", first)


@change("registry.tags.set_immutable_patterns", HubAction.PROTECT_TAGS, "ann/app", namespace="ann")
async def protect_tags_of_registry(world: World) -> Steps:
    yield
    await world.services.registry.tags.set_immutable_patterns(world.ann, "ann/app", ("v*",))


@change("tags.delete", HubAction.DELETE_TAG, "ann/app:latest", namespace="ann")
async def delete_tag(world: World) -> Steps:
    await world.push(world.ann, "ann/app")
    yield
    await world.hub.tags.delete(world.ann, "ann/app", "latest")


@change("tags.restore", HubAction.MOVE_TAG, "ann/app:latest", namespace="ann")
async def restore_tag(world: World) -> Steps:
    first = await world.push(world.ann, "ann/app")
    await world.push(world.ann, "ann/app", content=b'{"os":"linux"}')
    yield
    await world.hub.tags.restore(world.ann, "ann/app", "latest", first)


@change("tags.set_immutable", HubAction.PROTECT_TAGS, "ann/app", namespace="ann")
async def protect_tags(world: World) -> Steps:
    yield
    await world.hub.tags.set_immutable(world.ann, "ann/app", ("v*",))


@change("renames.rename_repository", HubAction.RENAME_REPOSITORY, "ann/renamed", namespace="ann")
async def rename_repository(world: World) -> Steps:
    yield
    await world.hub.renames.rename_repository(world.ann, "ann/app", "renamed")


@change("renames.rename_account", HubAction.RENAME_ACCOUNT, "anna", namespace="anna")
async def rename_account(world: World) -> Steps:
    yield
    await world.hub.renames.rename_account(world.ann, "ann", "anna")


@change("renames.end_redirect", HubAction.END_REDIRECT, "ann/app", namespace="ann")
async def end_redirect(world: World) -> Steps:
    await world.hub.renames.rename_repository(world.ann, "ann/app", "renamed")
    yield
    await world.hub.renames.end_redirect(world.ann, "ann/app")


@change("transfers.transfer", HubAction.TRANSFER_REPOSITORY, "acme/app", namespace="acme")
async def transfer(world: World) -> Steps:
    yield
    await world.hub.transfers.transfer(world.ann, "ann/app", NewTransfer("acme"))


async def offered(world: World) -> int:
    """Offer a repository to Ben; return its id."""
    await world.hub.transfers.transfer(world.ann, "ann/app", NewTransfer("ben"))
    found = await world.hub.transfers.offer(world.ann, "ann/app")
    return int(found.repository_id)


@change("transfers.withdraw", HubAction.WITHDRAW_TRANSFER, "ann/app", namespace="ann")
async def withdraw_offer(world: World) -> Steps:
    await offered(world)
    yield
    await world.hub.transfers.withdraw(world.ann, "ann/app")


@change("transfers.accept", HubAction.TRANSFER_REPOSITORY, "ben/app", namespace="ann", by="ben")
async def accept_offer(world: World) -> Steps:
    repository_id = await offered(world)
    yield
    await world.hub.transfers.accept(world.ben, "ben", repository_id)


@change("transfers.decline", HubAction.DECLINE_TRANSFER, "ann/app", namespace="ben", by="ben")
async def decline_offer(world: World) -> Steps:
    repository_id = await offered(world)
    yield
    await world.hub.transfers.decline(world.ben, "ben", repository_id)
