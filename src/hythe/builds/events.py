"""The port by which builds tell what happens to them: notices, commit statuses and mail listen here."""

from typing import Protocol

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.database import Session


class BuildListener(Protocol):
    """Called inside the transaction that makes the thing true: what it writes is committed with it or not at all."""

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """A build was queued, started or ended; ``build.status`` says which. Send nothing from here."""
