"""Fixtures of the tests of builds."""

from tests.builds.services import services, start_services

__all__ = ["services", "start_services"]
