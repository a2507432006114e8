"""A small LDAP client (RFC 4511) that checks passwords: TLS, simple bind and search.

Own code, because ldap3 has had no release since 2021, and python-ldap and bonsai need a compiler and headers. It also
lets ``egress`` decide about the socket, and needs no thread while it waits.
"""
