"""Accounts and their limits: users, sign-ups, e-mail addresses, plans; what blocking or deleting an account ends."""
