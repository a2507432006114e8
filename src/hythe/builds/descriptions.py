"""The README next to the Dockerfile becomes the repository's description."""

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.hub.repositories.repository import FULL_DESCRIPTION_LENGTH
from hythe.hub.sql import repositories as repository_rows


class DescriptionListener(BuildListener):
    """Copies the README of a build into the description, which is rendered when it is first shown."""

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """Copy the README if the build succeeded and is of the default branch or the tag ``latest``."""
        main = build.ref.name == configuration.source.default_branch or "latest" in build.tags
        if build.status is BuildStatus.SUCCEEDED and build.trusted and build.result.readme and main:
            text = build.result.readme[:FULL_DESCRIPTION_LENGTH].replace("\0", "")
            await repository_rows.change(session, configuration.repository_id, {"full_description": text})
            await repository_rows.index(session, configuration.repository_id)
