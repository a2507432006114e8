"""Clients of code hosting services (forges): one module per forge behind the port in ``port.py``. No database."""
