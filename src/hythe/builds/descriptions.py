"""The README beside the Dockerfile becomes the repository's description, as it was in 2014."""

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.hub.repository import FULL_DESCRIPTION_LENGTH
from hythe.hub.sql import repositories as repository_rows


class DescriptionListener(BuildListener):
    """A BuildListener; pages clean what they show of a description, wherever it came from."""

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """Take over the README of a build that succeeded, when it is of the default branch or of ``latest``."""
        main = build.ref.name == configuration.source.default_branch or "latest" in build.tags
        if build.status is BuildStatus.SUCCEEDED and build.trusted and build.result.readme and main:
            text = build.result.readme[:FULL_DESCRIPTION_LENGTH].replace("\0", "")
            await repository_rows.change(session, configuration.repository_id, {"full_description": text})
            await repository_rows.index(session, configuration.repository_id)
