"""The SQL of what a namespace uses: stored bytes, repositories, and upload sessions.

A namespace is the first component of a repository's name. Triggers keep ``namespace_usage`` and ``namespace_blobs``
(migration 0008); the bytes of upload sessions are summed, because a namespace has few of them.
"""

from sqlalchemy import ColumnElement, ScalarSelect, func, literal, select

from hythe.database.tables.registry import uploads


def in_namespace(namespace: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that an upload session's repository is in the namespace, as a range of the index.

    ``0`` is the character after ``/``. The name of a repository can also be a namespace alone (private registry).
    """
    return ((uploads.c.repository > namespace + literal("/")) & (uploads.c.repository < namespace + literal("0"))) | (
        uploads.c.repository == namespace
    )


def upload_count(namespace: ColumnElement[str]) -> ScalarSelect[int]:
    """Return the subquery that counts the upload sessions of a namespace."""
    return select(func.count()).select_from(uploads).where(in_namespace(namespace)).scalar_subquery()
