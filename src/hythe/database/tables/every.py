"""All tables together, for migrations. A server imports the files of its own parts alone."""

from hythe.database.tables import builds, forges, hub, notifications, registry
from hythe.database.tables.metadata import METADATA

__all__ = ["METADATA", "builds", "forges", "hub", "notifications", "registry"]
