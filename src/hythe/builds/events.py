"""Events of builds. ``server/hub.py`` wires the list of listeners."""

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.database import Session


class BuildListener:
    """Listens to builds. Override what you need: the methods do nothing here.

    Each call is inside the transaction of the event: what a listener writes is committed with the event or not at all.
    Do not send anything from here; write to an outbox.
    """

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """A build was queued, started or ended, or its commit was found; ``build.status`` says which."""

    async def configuration_removed(self, session: Session, configuration: BuildConfiguration, deleted_id: int) -> None:
        """A build configuration was deleted; what is moved to the repository ``deleted_id`` is deleted with it."""
