"""The plan of an account in the database: one column of ``users`` for each limit."""

from typing import Any

from sqlalchemy import Row, Table

from hythe.hub.accounts.plan import Plan


def plan_columns(users: Table) -> tuple[Any, ...]:
    """Return the columns that ``plan_of`` reads; ``users`` may be an alias."""
    return (users.c.admin, *(users.c[limit] for limit in Plan.__struct_fields__))


def plan_of(row: Row[Any]) -> Plan:
    """Return the plan to enforce: administrators have no limits."""
    return Plan() if row.admin else Plan(**{limit: getattr(row, limit) for limit in Plan.__struct_fields__})
