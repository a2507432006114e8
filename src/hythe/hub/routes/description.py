"""``/api/openapi.json``: describes the JSON API (OpenAPI 3.1), generated from the endpoints and their types."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from hythe.hub.routes.endpoint import Endpoint, Nothing
from hythe.hub.routes.parsing import may_be_empty
from hythe.hub.routes.problem_details import MEDIA_TYPE, Problem

_PARAMETER = re.compile(r"\{(\w+)(?::(path|int))?\}")
_SCHEMAS: dict[str, dict[str, Any]] = {
    "": {"type": "string"},
    "path": {"type": "string"},
    "int": {"type": "integer", "minimum": 0},
}
"""Kind of a path parameter -> its schema."""
_TEMPLATE = "#/components/schemas/{name}"

_CONVENTIONS = """\
Errors are problem details (RFC 9457). Lists have pages of up to 100 items, and cursors for those around them. Each \
GET has an ETag: `If-None-Match` saves its transfer, and `If-Match` with a PUT, PATCH or DELETE of the same address \
refuses the change (412) if the resource has changed since. `RateLimit` says how many requests are left.
"""


def describe(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    table = tuple(endpoints)
    types = [Problem, *(kind for each in table for kind in (each.body, each.reply) if kind not in (Nothing, None))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    by_type = dict(zip(map(str, types), schemas, strict=True))
    for body in {each.body for each in table if not each.lenient} - {Nothing}:
        components[body.__name__]["additionalProperties"] = False
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hythe", "version": version("hythe"), "description": _CONVENTIONS},
        "paths": paths,
        "security": [{}, {"basic": []}, {"bearer": []}],
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": _operation_id(endpoint),
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            str(endpoint.status.value): _success(endpoint, schemas),
            "default": {
                "description": "An error, as problem details (RFC 9457)",
                "content": {MEDIA_TYPE: {"schema": schemas[str(Problem)]}},
            },
        },
    }
    if endpoint.body is not Nothing:
        content = {"application/json": {"schema": schemas[str(endpoint.body)]}}
        operation["requestBody"] = {"required": not may_be_empty(endpoint.body), "content": content}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by-\1", endpoint.path).removeprefix("/api/v1"))
    return "-".join([endpoint.method.lower(), *words])


def _success(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    if endpoint.reply is None:
        return {"description": endpoint.status.phrase}
    content = {"application/json": {"schema": schemas[str(endpoint.reply)]}}
    return {"description": endpoint.status.phrase, "content": content}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _SCHEMAS[kind]}
        for name, kind in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is Nothing:
        return []
    (_,), components = msgspec.json.schema_components([endpoint.query], ref_template=_TEMPLATE)
    properties = components[endpoint.query.__name__]["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
