"""A bound on the work of parsing a JSON document, which any user may have written."""

MAX_TEXTS = 50_000
"""Names and text values in a document. Parsing that many takes about 10 ms; an image has a few hundred."""


def has_too_many_texts(content: bytes) -> bool:
    """Return whether a JSON document may have more than ``MAX_TEXTS`` names and text values.

    It counts quotation marks, those inside of texts included, because that takes no time.
    """
    return len(content) > 2 * MAX_TEXTS and content.count(b'"') > 2 * MAX_TEXTS
