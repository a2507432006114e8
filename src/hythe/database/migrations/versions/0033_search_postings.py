"""Search reads a table of words, best repositories first, and stops when it has enough.

``search_postings`` has a row for each word of a repository's name and description, by who may see it: ``audience`` is 0
for public repositories, -1 for internal ones, and otherwise the namespace of a private one. ``rank`` sorts the best
first; it changes in steps, so that a pull rarely changes it. The empty word is in every repository.
``search_term_forms`` leads from parts of words in names (``s``: from each letter to the end; ``d``: without one letter)
to these words, for parts of names and for typos.

Triggers keep both tables, so that older servers keep them, too. What those search remains until a later release. On
SQLite, the virtual table ``search_scratch`` divides one text into words, as the older search does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WORD_LENGTH = 64
_SHORTEST_PART, _SHORTEST_TYPO, _LONGEST_TERM = 3, 4, 32

# A word counts more in the name than in the description, and official repositories come first.
_WORST, _NAMED, _DESCRIBED = 47, 8, 4
_WEIGHT = {
    "sqlite": "(CAST(10 * ({row}stars / ({row}stars + 10.0) + {row}pulls / ({row}pulls + 1000.0)) AS INTEGER) "
    "+ 20 * {row}official)",
    "postgresql": "search_weight({row}stars, {row}pulls, {row}official)",
}

_DIFFERS = {"sqlite": "IS NOT", "postgresql": "IS DISTINCT FROM"}
_SHOWN = ("visibility", "listed", "name", "description", "namespace_id")
"""The columns that decide in which searches a repository is; a change of a public one also changes its document."""

_FORMS = f"""
INSERT INTO search_term_forms (kind, form, term)
SELECT 's', substr(word, n), word FROM {{terms}} JOIN {{numbers}} ON n = 1 OR n < length(word) - {_SHORTEST_PART - 2}
WHERE {{condition}}
UNION
SELECT 'd', substr(word, 1, n - 1) || substr(word, n + 1), word FROM {{terms}} JOIN {{numbers}} ON n <= length(word) + 1
WHERE length(word) >= {_SHORTEST_TYPO} AND {{condition}}
ORDER BY 1, 2, 3
ON CONFLICT DO NOTHING
"""
_SUITABLE = f"length(word) BETWEEN {_SHORTEST_PART} AND {_LONGEST_TERM}"
_NEW = f"{_SUITABLE} AND NOT EXISTS (SELECT 1 FROM search_term_forms WHERE kind = 's' AND form = word AND term = word)"
_VALUES = ", ".join(f"({n})" for n in range(1, _LONGEST_TERM + 2))
_NUMBERS = {
    "sqlite": f"(SELECT column1 AS n FROM (VALUES {_VALUES})) AS numbers",
    "postgresql": f"generate_series(1, {_LONGEST_TERM + 1}) AS numbers(n)",
}

# --- SQLite: fts5vocab lists the words of one text, or of all texts.
_BONUS = f"max(CASE col WHEN 'name' THEN {_NAMED} ELSE {_DESCRIBED} END) AS bonus"
_PUBLIC_AUDIENCE = "CASE hub_repositories.visibility WHEN 'public' THEN 0 ELSE -1 END"
_PRIVATE_AUDIENCE = "hub_repositories.namespace_id"
_SQLITE_POST = f"""
INSERT INTO search_postings (audience, word, rank, repository_id)
SELECT {{audience}}, word, {_WORST} - bonus - {_WEIGHT["sqlite"].format(row="hub_repositories.")}, repository_id
FROM {{words}} JOIN hub_repositories ON {{condition}} ORDER BY 1, 2, 3, 4
"""
_ONE_TEXT = (
    f"(SELECT substr(term, 1, {_WORD_LENGTH}) AS word, {_BONUS} FROM search_scratch_words GROUP BY 1 "
    f"UNION ALL SELECT '', {_NAMED}) AS words"
)
_ALL_TEXTS = (
    f"(SELECT substr(term, 1, {_WORD_LENGTH}) AS word, doc, {_BONUS} FROM {{vocabulary}} GROUP BY 1, 2 "
    f"UNION ALL SELECT '', {{key}}, {_NAMED} FROM {{documents}}) AS words"
)
_DIVIDE = "INSERT INTO search_scratch(rowid, name, description) VALUES (1, new.name, new.description);"
_DIVIDED = "INSERT INTO search_scratch(search_scratch) VALUES ('delete-all');"
_THIS = "hub_repositories.repository_id = new.repository_id AND hub_repositories.visibility {} 'private'"
_POST_PUBLIC = _SQLITE_POST.format(audience=_PUBLIC_AUDIENCE, words=_ONE_TEXT, condition=_THIS.format("<>"))
_POST_PRIVATE = _SQLITE_POST.format(
    audience=_PRIVATE_AUDIENCE, words=_ONE_TEXT, condition=f"{_THIS.format('=')} AND hub_repositories.listed"
)
_ADD_FORMS = _FORMS.format(
    terms="(SELECT term AS word FROM search_scratch_words WHERE col = 'name') AS terms",
    numbers=_NUMBERS["sqlite"],
    condition=_NEW,
)
_ADD_PUBLIC = f"{_DIVIDE} {_POST_PUBLIC}; {_ADD_FORMS}; {_DIVIDED}"
_ADD_PRIVATE = f"{_DIVIDE} {_POST_PRIVATE}; {_DIVIDED}"
_REMOVE_PUBLIC = "DELETE FROM search_postings WHERE repository_id = old.repository_id AND audience <= 0;"
_REMOVE_PRIVATE = "DELETE FROM search_postings WHERE repository_id = old.repository_id AND audience > 0;"
_PRIVATE_DOCUMENTS = "hub_repositories WHERE visibility = 'private' AND listed"


def _changed(dialect: str) -> str:
    return "(" + " OR ".join(f"old.{column} {_DIFFERS[dialect]} new.{column}" for column in _SHOWN) + ")"


def _weights(dialect: str) -> tuple[str, str]:
    return _WEIGHT[dialect].format(row="old."), _WEIGHT[dialect].format(row="new.")


_OLD_WEIGHT, _NEW_WEIGHT = _weights("sqlite")
_SQLITE_FILL = (
    "CREATE VIRTUAL TABLE search_all_words USING fts5vocab(search_words, 'instance')",
    _SQLITE_POST.format(
        audience=_PUBLIC_AUDIENCE,
        words=_ALL_TEXTS.format(vocabulary="search_all_words", key="repository_id", documents="search_documents"),
        condition="hub_repositories.repository_id = words.doc AND hub_repositories.visibility <> 'private'",
    ),
    _FORMS.format(
        terms="(SELECT DISTINCT term AS word FROM search_all_words WHERE col = 'name') AS terms",
        numbers=_NUMBERS["sqlite"],
        condition=_SUITABLE,
    ),
    "DROP TABLE search_all_words",
    "CREATE VIRTUAL TABLE search_private USING fts5(name, description, content='', detail='column', columnsize=0, "
    "tokenize='unicode61')",
    "CREATE VIRTUAL TABLE search_private_words USING fts5vocab(search_private, 'instance')",
    "INSERT INTO search_private(rowid, name, description) "
    f"SELECT repository_id, name, description FROM {_PRIVATE_DOCUMENTS}",
    _SQLITE_POST.format(
        audience=_PRIVATE_AUDIENCE,
        words=_ALL_TEXTS.format(vocabulary="search_private_words", key="repository_id", documents=_PRIVATE_DOCUMENTS),
        condition="hub_repositories.repository_id = words.doc",
    ),
    "DROP TABLE search_private_words",
    "DROP TABLE search_private",
)
_SQLITE = (
    "CREATE VIRTUAL TABLE search_scratch USING fts5(name, description, content='', detail='column', columnsize=0, "
    "tokenize='unicode61')",
    "CREATE VIRTUAL TABLE search_scratch_words USING fts5vocab(search_scratch, 'col')",
    *_SQLITE_FILL,
    f"CREATE TRIGGER search_document_posted AFTER INSERT ON search_documents BEGIN {_ADD_PUBLIC} END",
    "CREATE TRIGGER search_document_posted_again AFTER UPDATE ON search_documents BEGIN "
    f"{_REMOVE_PUBLIC} {_ADD_PUBLIC} END",
    f"CREATE TRIGGER search_document_unposted AFTER DELETE ON search_documents BEGIN {_REMOVE_PUBLIC} END",
    "CREATE TRIGGER private_repository_posted AFTER INSERT ON hub_repositories "
    f"WHEN new.visibility = 'private' AND new.listed BEGIN {_ADD_PRIVATE} END",
    f"CREATE TRIGGER private_repository_posted_again AFTER UPDATE OF {', '.join(_SHOWN)} ON hub_repositories "
    f"WHEN {_changed('sqlite')} AND 'private' IN (old.visibility, new.visibility) "
    f"BEGIN {_REMOVE_PRIVATE} {_ADD_PRIVATE} END",
    "CREATE TRIGGER search_rank_changed AFTER UPDATE OF stars, pulls, official ON hub_repositories "
    f"WHEN {_OLD_WEIGHT} <> {_NEW_WEIGHT} AND NOT {_changed('sqlite')} BEGIN "
    f"UPDATE search_postings SET rank = rank + {_OLD_WEIGHT} - {_NEW_WEIGHT} WHERE repository_id = new.repository_id; "
    "END",
)

# --- PostgreSQL
_VECTOR = "to_tsvector('simple', translate({text}, '/-_.', '    '))"
_WORDS_OF = "unnest(tsvector_to_array(" + _VECTOR + "))"
_POSTGRESQL_WORDS = f"""
SELECT left(word, {_WORD_LENGTH}) AS word, max(bonus) AS bonus FROM (
    SELECT {_WORDS_OF.format(text="{name}")}, {_NAMED}
    UNION ALL SELECT {_WORDS_OF.format(text="{description}")}, {_DESCRIBED}
    UNION ALL SELECT '', {_NAMED}
) AS found(word, bonus) GROUP BY 1
"""
_POSTGRESQL_POST = f"""
INSERT INTO search_postings (audience, word, rank, repository_id)
SELECT {{audience}}, words.word, {_WORST} - words.bonus - {_WEIGHT["postgresql"].format(row="hub_repositories.")},
    hub_repositories.repository_id
FROM hub_repositories {{documents}} CROSS JOIN LATERAL ({_POSTGRESQL_WORDS}) AS words WHERE {{condition}}
"""
_ALL_PUBLIC = _POSTGRESQL_POST.format(
    audience=_PUBLIC_AUDIENCE,
    documents="JOIN search_documents USING (repository_id)",
    condition="hub_repositories.visibility <> 'private'",
    name="search_documents.name",
    description="search_documents.description",
)
_ALL_PRIVATE = _POSTGRESQL_POST.format(
    audience=_PRIVATE_AUDIENCE,
    documents="",
    condition="hub_repositories.visibility = 'private' AND hub_repositories.listed",
    name="hub_repositories.name",
    description="hub_repositories.description",
)
_POSTGRESQL_TERMS = "(SELECT DISTINCT {words} AS word{source}) AS terms"
_OLD_WEIGHT_P, _NEW_WEIGHT_P = _weights("postgresql")

_POSTGRESQL_FUNCTIONS = (
    """
CREATE FUNCTION search_weight(stars bigint, pulls bigint, official boolean) RETURNS integer IMMUTABLE LANGUAGE sql AS $$
    SELECT floor(10 * (stars / (stars + 10.0) + pulls / (pulls + 1000.0)))::integer + 20 * official::integer
$$
""",
    f"""
CREATE FUNCTION post_search_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        {_REMOVE_PUBLIC}
    END IF;
    IF TG_OP <> 'DELETE' THEN
        {_ALL_PUBLIC} AND hub_repositories.repository_id = NEW.repository_id;
        {
        _FORMS.format(
            terms=_POSTGRESQL_TERMS.format(words=_WORDS_OF.format(text="NEW.name"), source=""),
            numbers=_NUMBERS["postgresql"],
            condition=_NEW,
        )
    };
    END IF;
    RETURN NULL;
END $$
""",
    f"""
CREATE FUNCTION post_private_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        {_REMOVE_PRIVATE}
    END IF;
    {_ALL_PRIVATE} AND hub_repositories.repository_id = NEW.repository_id;
    RETURN NULL;
END $$
""",
    f"""
CREATE FUNCTION change_search_rank() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE search_postings SET rank = rank + {_OLD_WEIGHT_P} - {_NEW_WEIGHT_P} WHERE repository_id = NEW.repository_id;
    RETURN NULL;
END $$
""",
)
_POSTGRESQL_FILL = (
    _ALL_PUBLIC,
    _ALL_PRIVATE,
    _FORMS.format(
        terms=_POSTGRESQL_TERMS.format(words=_WORDS_OF.format(text="name"), source=" FROM search_documents"),
        numbers=_NUMBERS["postgresql"],
        condition=_SUITABLE,
    ).replace("ON CONFLICT DO NOTHING", ""),
)
_POSTGRESQL_TRIGGERS = (
    "CREATE TRIGGER search_document_posted AFTER INSERT OR UPDATE OR DELETE ON search_documents "
    "FOR EACH ROW EXECUTE FUNCTION post_search_document()",
    "CREATE TRIGGER private_repository_posted AFTER INSERT ON hub_repositories FOR EACH ROW "
    "WHEN (NEW.visibility = 'private' AND NEW.listed) EXECUTE FUNCTION post_private_repository()",
    f"CREATE TRIGGER private_repository_posted_again AFTER UPDATE OF {', '.join(_SHOWN)} ON hub_repositories "
    f"FOR EACH ROW WHEN ({_changed('postgresql')} AND 'private' IN (OLD.visibility, NEW.visibility)) "
    "EXECUTE FUNCTION post_private_repository()",
    "CREATE TRIGGER search_rank_changed AFTER UPDATE OF stars, pulls, official ON hub_repositories "
    f"FOR EACH ROW WHEN ({_OLD_WEIGHT_P} <> {_NEW_WEIGHT_P} AND NOT {_changed('postgresql')}) "
    "EXECUTE FUNCTION change_search_rank()",
)


FILL = {"sqlite": _SQLITE_FILL, "postgresql": _POSTGRESQL_FILL}
"""Statements that fill the empty tables; a restored or moved database is filled by them, too."""


def upgrade() -> None:
    """Create the tables, fill them, and let triggers keep them."""
    bind = op.get_bind()
    if bind.dialect.name == "sqlite":
        _create_postings()
        _create_forms()
        _create_index()
        for statement in _SQLITE:
            bind.exec_driver_sql(statement.strip())
        return
    # Older servers may be running: changes of repositories wait until the triggers see them.
    op.execute("LOCK TABLE hub_repositories, search_documents IN SHARE ROW EXCLUSIVE MODE")
    bind.exec_driver_sql(_POSTGRESQL_FUNCTIONS[0].strip())
    _create_postings()
    _create_forms()
    for statement in (*_POSTGRESQL_FUNCTIONS[1:], *_POSTGRESQL_FILL):
        bind.exec_driver_sql(statement.strip())
    # After the rows, which is faster.
    op.create_primary_key(op.f("pk_search_postings"), "search_postings", ["audience", "word", "rank", "repository_id"])
    op.create_primary_key(op.f("pk_search_term_forms"), "search_term_forms", ["kind", "form", "term"])
    _create_index()
    for statement in _POSTGRESQL_TRIGGERS:
        bind.exec_driver_sql(statement)
    op.execute("ANALYZE search_postings, search_term_forms")


def _ordered(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _create_postings() -> None:
    keys = [sa.PrimaryKeyConstraint("audience", "word", "rank", "repository_id", name=op.f("pk_search_postings"))]
    op.create_table(
        "search_postings",
        sa.Column("audience", _IDENTITY, nullable=False, autoincrement=False),
        sa.Column("word", _ordered(_WORD_LENGTH), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("repository_id", _IDENTITY, nullable=False, autoincrement=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["hub_repositories.repository_id"],
            name=op.f("fk_search_postings_repository_id_hub_repositories"),
            ondelete="CASCADE",
        ),
        *(keys if op.get_bind().dialect.name == "sqlite" else []),
        sqlite_with_rowid=False,
    )


def _create_forms() -> None:
    keys = [sa.PrimaryKeyConstraint("kind", "form", "term", name=op.f("pk_search_term_forms"))]
    op.create_table(
        "search_term_forms",
        sa.Column("kind", _ordered(16), nullable=False),
        sa.Column("form", _ordered(_WORD_LENGTH), nullable=False),
        sa.Column("term", _ordered(_WORD_LENGTH), nullable=False),
        *(keys if op.get_bind().dialect.name == "sqlite" else []),
        sqlite_with_rowid=False,
    )


def _create_index() -> None:
    op.create_index("ix_search_postings_repository", "search_postings", ["repository_id", "word"])
