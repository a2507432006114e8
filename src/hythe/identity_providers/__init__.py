"""Clients of the systems that users sign in with: OpenID Connect providers, GitHub, LDAP directories. No database."""
