"""The OpenAPI 3.1 document of this door, made from the operations themselves, and the page made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from fleetbell import __version__
from fleetbell.errors import DomainError, TokenInvalid
from fleetbell.operator.operation import JSON, Operation
from fleetbell.operator.problem import MEDIA_TYPE, TITLES, TokenMissing
from fleetbell.operator.views.problem import Problem

ROOT: Final = "/api/v1"

Document = dict[str, Any]
_REF: Final = "#/components/schemas/"
_CONVERTERS: Final = {"": "string", "path": "string", "int": "integer"}


def document(operations: Sequence[Operation]) -> Document:
    """The document. It has only what the operations say, so it is as true as they are."""
    schemas = _Schemas(operations)
    paths: dict[str, Document] = {}
    for operation in operations:
        paths.setdefault(operation.shown_path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleetbell operator API",
            "version": __version__,
            "description": "An operator's token opens everything, an application's token what is its own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ROOT}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `fleetbell token create`. The Unix socket needs none.",
                }
            },
        },
    }


class _Schemas:
    """The schemas of all types that the operations take and give."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        kinds: list[Any] = [Problem]
        for operation in operations:
            kinds += [kind for kind in (operation.query, operation.body, operation.gives) if kind is not None]
        kinds = list(dict.fromkeys(kinds))
        found, self.components = msgspec.json.schema_components(kinds, ref_template=_REF + "{name}")
        self._by_kind: Mapping[Any, Document] = dict(zip(kinds, found, strict=True))
        for operation in operations:  # a query is told by its parameters, not by the name of its type
            if operation.query is not None:
                self.components.pop(self._name(operation.query), None)
        self._queries = {
            operation.query: msgspec.json.schema_components([operation.query])[1]
            for operation in operations
            if operation.query is not None
        }

    def of(self, kind: Any) -> Document:
        return self._by_kind[kind]

    def parameters_of(self, query: type[msgspec.Struct]) -> list[Document]:
        schema = self._queries[query][self._name(query)]
        return [
            {"name": name, "in": "query", "required": name in schema["required"], "schema": _plain(each)}
            for name, each in schema["properties"].items()
        ]

    def _name(self, kind: Any) -> str:
        return str(self._by_kind[kind]["$ref"]).removeprefix(_REF)


def _plain(schema: Document) -> Document:
    """Without the null that stands for a parameter that is left out."""
    match schema:
        case {"anyOf": [inner, {"type": "null"}]}:
            return dict(inner)
        case _:
            return schema


def _operation(operation: Operation, schemas: _Schemas) -> Document:
    parameters: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": _CONVERTERS[converter]}}
        for name, converter in operation.path_parameters.items()
    ]
    if operation.query is not None:
        parameters += schemas.parameters_of(operation.query)
    found: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.room],
        "responses": _responses(operation, schemas),
    }
    if operation.about:
        found["description"] = operation.about
    if parameters:
        found["parameters"] = parameters
    if operation.takes:
        found["requestBody"] = {"required": True, "content": {operation.takes: _body(operation, schemas)}}
    return found


def _body(operation: Operation, schemas: _Schemas) -> Document:
    if operation.body is not None:
        return {"schema": schemas.of(operation.body)}
    return {} if operation.takes == "application/octet-stream" else {"schema": {"type": "string"}}


def _responses(operation: Operation, schemas: _Schemas) -> Document:
    success: Document = {"description": "Done."}
    if operation.gives is not None:
        success["content"] = {JSON: {"schema": schemas.of(operation.gives)}}
    elif operation.sends:
        success["content"] = {operation.sends: {"schema": {"type": "string"}}}
    responses = {str(operation.status): success}
    statuses: dict[int, tuple[type[DomainError], ...]] = {401: (TokenMissing, TokenInvalid)}
    for status, kinds in sorted((statuses | operation.statuses).items()):
        reasons = " ".join(_sentence(kind) for kind in kinds)
        responses[str(status)] = {
            "description": f"{TITLES[status]}. {reasons}",
            "content": {MEDIA_TYPE: {"schema": schemas.of(Problem)}},
        }
    return responses


def _sentence(kind: type[DomainError]) -> str:
    """What a refusal means: the first line of its docstring."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


_PAGE_HEAD: Final = """\
# The operator API

Made from the operations themselves; a test fails when this page is out of date. To write it anew:
`fleetbell config reference api > docs/reference/operator-api.md`.

Everything that the commands do, under `/api/v1`: over TCP at `operator.host` and `operator.port`
([settings](settings.md#operator), 127.0.0.1:8780 unless set) with a token, and without one on the Unix
socket `operator.sock` in the data folder. A token is sent as `Authorization: Bearer TOKEN`;
`fleetbell token create` makes one. An operator's token opens everything. An application's token, or the
access token of its login, opens what is its own: what belongs to another application is answered as if it
did not exist, and is in no list and no total.

The same as an OpenAPI 3.1 document: `GET /api/v1/openapi.json`.

Bodies are JSON unless it says otherwise. A refusal is `application/problem+json` with `title`, `status` and
a `detail` for the person at the other end; every operation may answer 401 to a call without a good token.
Times end in `_ms` and are milliseconds since 1970 in UTC. A list has `total` and `items`; `page` counts
from 0.
"""


def page(operations: Sequence[Operation]) -> str:
    """The reference page of all operations, in Markdown."""
    described = document(operations)
    lines = [_PAGE_HEAD]
    room = ""
    for operation in operations:
        shown = described["paths"][operation.shown_path][operation.method.lower()]
        if operation.room != room:
            room = operation.room
            lines.append(f"## {room.capitalize()}\n")
        lines += _paragraph(operation, shown)
    lines.append("## Types\n")
    for name, schema in sorted(described["components"]["schemas"].items()):
        lines += _type(name, schema)
    return "\n".join(lines).rstrip("\n") + "\n"


def _paragraph(operation: Operation, shown: Document) -> list[str]:
    text = [f"### {operation.method} {operation.shown_path}\n", shown["summary"], ""]
    if operation.about:
        text += [operation.about, ""]
    facts = []
    if operation.operators_only:
        facts.append("for operators only")
    if operation.query is not None:
        words = [
            f"`{each['name']}` ({_words(each['schema'])}{', needed' if each['required'] else ''})"
            for each in shown["parameters"]
            if each["in"] == "query"
        ]
        facts.append(f"query: {', '.join(words)}")
    if operation.body is not None:
        facts.append(f"body: {_words(shown['requestBody']['content'][JSON]['schema'])}")
    elif operation.takes:
        facts.append(f"body: `{operation.takes}`")
    success = shown["responses"][str(operation.status)]
    given = f"`{operation.sends}`" if operation.sends else "nothing"
    if operation.gives is not None:
        given = _words(success["content"][JSON]["schema"])
    facts.append(f"answers {operation.status} with {given}")
    refusals = [
        f"{status} ({', '.join(kind.__name__ for kind in kinds)})"
        for status, kinds in operation.statuses.items()
    ]
    if refusals:
        facts.append(f"refuses with {', '.join(refusals)}")
    return [*text, *(f"- {fact}" for fact in facts), ""]


def _type(name: str, schema: Document) -> list[str]:
    text = [f"### {schema.get('title', name)}\n", schema.get("description", "").replace("``", "`"), ""]
    needed = schema.get("required", [])
    text += [
        f"- `{field}`: {_words(each)}{'' if field in needed else ', may be left out'}"
        for field, each in schema.get("properties", {}).items()
    ]
    return [*text, ""]


def _words(schema: Document) -> str:
    """A schema in words.

    >>> _words({"type": "array", "items": {"$ref": "#/components/schemas/CaView"}})
    'list of [CaView](#caview)'
    >>> _words({"anyOf": [{"type": "integer"}, {"type": "null"}]})
    'integer or null'
    """
    match schema:
        case {"$ref": ref}:
            name = str(ref).removeprefix(_REF)
            title = name.replace("_", "[", 1).rstrip("_") + "]" if name.endswith("_") else name
            anchor = name.lower().replace("_", "") if name.endswith("_") else name.lower()
            return f"[{title.replace('[', ' of ').rstrip(']')}](#{anchor})"
        case {"anyOf": options}:
            return " or ".join(_words(option) for option in options)
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": inner}:
            return f"list of {_words(inner)}"
        case {"type": "object", "additionalProperties": dict(inner)}:
            return f"object of {_words(inner)}"
        case {"type": kind, "minimum": least, "maximum": most}:
            return f"{kind} from {least} to {most}"
        case {"type": kind}:
            return str(kind)
        case _:
            return "anything"
