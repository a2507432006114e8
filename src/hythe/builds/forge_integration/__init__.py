"""Trusted Builds' side of the forges: linked accounts, webhooks with their deliveries, commit statuses."""
