"""Signing in: passwords, sessions, second factors, identity providers, and the throttles for guesses."""
