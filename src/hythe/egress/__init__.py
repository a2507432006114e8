"""Decides which addresses user input can make the hub and its workers connect to (protection against SSRF)."""
