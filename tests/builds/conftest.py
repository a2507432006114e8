"""Fixtures of the builds' tests."""

from tests.builds.house import house, start_house

__all__ = ["house", "start_house"]
