"""The OpenAPI document of the whole site, for programs and code generators.

django-ninja describes what an operation takes and answers. What all of them share is added here: problems,
headers, and the infer API, whose paths and answers stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import conditional_page, require_safe
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from exeml_site.lib.http import View, public, site_url
from projects.api.core.access import BearerToken
from projects.api.core.api import Api
from projects.api.core.idempotency import HEADER, MAX_KEY
from training.serving.openapi import openapi_document

Schema = dict[str, Any]
PREFIX = "Infer"  # of the schemas of the infer API
METHODS = ("get", "post", "put", "patch", "delete")
DESCRIPTION = """Everything a person can do on the pages, for programs.

**Tokens.** Create an access token on the page of your account and send it as `Authorization: Bearer exeml_…`.
Each operation names the scope and the role that it needs.

**Errors** are problems (RFC 9457) with the type `application/problem+json`: a sentence in `detail`, and for
values that cannot be accepted the field of each in `errors`.

**Lists** come in pages: pass `next` of an answer as `cursor` of the next call. `fields` names the fields to
answer, with commas; the answer lacks all others, also those that its schema requires.

**Caches.** Answers have an `ETag`; a call with `If-None-Match` is answered with 304 where nothing changed.

**Repeated calls.** Operations that create take an `Idempotency-Key`: a repeated call with the same key within
a day gets the answer of the first, and creates nothing.

**Calls of services** under `/v1/infers` take a token of the service instead, in the header `X-Auth-Token`.
"""
PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("RequestBroken", "The request cannot be read."),
    401: ("NotSignedIn", "The token is missing, wrong, revoked or expired."),
    403: ("Forbidden", "The scope of the token or the role of its owner does not suffice."),
    404: ("NotFound", "There is nothing at this address, or the owner of the token may not see it."),
    409: ("Conflict", "A rule forbids it as things are now; `detail` says which."),
    411: ("LengthMissing", "The server between needs the length of the body."),
    413: ("TooLarge", "The body, or a file in it, is too large."),
    415: ("WrongMediaType", "The body has another media type."),
    422: ("InvalidFields", "Some values cannot be accepted; `errors` names the field of each."),
    429: (
        "TooManyCalls",
        "Too many calls at once, in a minute, or with wrong tokens. Retry-After says when to come again.",
    ),
    503: ("Unavailable", "A part of the site, or the service, does not respond. Retry-After may say when."),
}
OF_BODIES = (411, 413, 415)
WITH_RETRY = (409, 429, 503)
PROBLEM: Schema = {
    "type": "object",
    "description": "An error as RFC 9457 describes it.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "description": "`urn:exeml:problem:` and the kind."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for a person."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "Empty where it is about several fields."},
                    "message": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "type": "urn:exeml:problem:invalid-fields",
        "title": "Some values cannot be accepted",
        "status": 422,
        "detail": "Enter a name.",
        "errors": [{"field": "name", "message": "Enter a name."}],
    },
}
TEXT: Schema = {"type": "string"}
HEADERS: Schema = {
    "RequestId": {"schema": TEXT, "description": "By which operators find the call in the log."},
    "ETag": {"schema": TEXT, "description": "For If-None-Match of the next call."},
    "RetryAfter": {"schema": TEXT, "description": "Seconds after which to call again."},
    "Challenge": {"schema": TEXT, "description": "`Bearer`"},
}
PARAMETERS: Schema = {
    "IdempotencyKey": {
        "name": HEADER,
        "in": "header",
        "schema": {"type": "string", "maxLength": MAX_KEY},
        "description": "Any text. A repeated call with it gets the answer of the first, for a day.",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "schema": TEXT,
        "description": "ETag of an earlier answer: 304 where nothing changed since.",
    },
    "Fields": {
        "name": "fields",
        "in": "query",
        "schema": {"type": "string", "maxLength": 512},
        "description": "Names of the fields to answer, with commas; the answer has these alone.",
    },
}


class WholeSchema(OpenAPISchema):
    """django-ninja's document, in which choices stand where they are used: several are called Status or Kind.

    Raises where two other schemas have one name, which django-ninja would mix up.
    """

    choices: Schema  # of the schema that is described just now

    def add_schema_definitions(self, definitions: Schema) -> None:
        self.choices = {name: schema for name, schema in definitions.items() if "enum" in schema}
        others = {
            name: self._with_choices(schema)
            for name, schema in definitions.items()
            if name not in self.choices
        }
        for name, schema in others.items():
            if self.schemas.get(name, schema) != schema:
                raise ValueError(f"Two schemas are called {name}.")
        super().add_schema_definitions(others)

    def _extract_parameters(self, model: Any) -> list[Schema]:
        self.choices = {}
        parameters: list[Schema] = self._with_choices(super()._extract_parameters(model))
        return parameters

    def _create_schema_from_model(self, *arguments: Any, **options: Any) -> tuple[Schema, bool]:
        self.choices = {}
        schema, is_required = super()._create_schema_from_model(*arguments, **options)
        return self._with_choices(schema), is_required

    def _create_multipart_schema_from_models(self, *arguments: Any, **options: Any) -> tuple[Schema, str]:
        schema, media_type = super()._create_multipart_schema_from_models(*arguments, **options)
        del schema["title"]  # MultiPartBodyParams, by which generators would name the form
        return schema, media_type

    def _with_choices(self, value: Any) -> Any:
        """The value with the schema of choices instead of each reference to it."""
        if isinstance(value, list):
            return [self._with_choices(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = str(value.get("$ref", "")).rpartition("/")[2]
        whole = {**self.choices[name], **value} if name in self.choices else value
        return {
            key: self._with_choices(item)
            for key, item in whole.items()
            if key != "$ref" or name not in self.choices
        }


def openapi_view(api: Api) -> View:
    """The view of the document of an API."""

    @public
    @require_safe
    @conditional_page
    def openapi(request: HttpRequest) -> HttpResponse:
        return JsonResponse(whole_document(api, site_url(request)))

    return openapi


def whole_document(api: Api, address: str) -> Schema:
    """The OpenAPI 3.1 document of the site at `address`."""
    return {**_described(api), "servers": [{"url": address}]}


@lru_cache(maxsize=1)
def _described(api: Api) -> Schema:
    own = WholeSchema(api, "api/v1/")
    text = json.dumps(own, cls=DjangoJSONEncoder).replace(f'"{BearerToken.__name__}"', '"AccessToken"')
    document: Schema = json.loads(text, object_hook=_with_names_of_choices)
    document["info"]["description"] = DESCRIPTION
    components = document["components"]
    components["schemas"]["Problem"] = PROBLEM
    components["responses"] = {name: _problem(status) for status, (name, _) in PROBLEMS.items()}
    components["parameters"], components["headers"] = PARAMETERS, HEADERS
    components["securitySchemes"]["AccessToken"]["description"] = "Of the page of your account."
    for operation, described in _operations(api, document):
        _describe(operation, described)
    _join_infer(document)
    _drop_unused_schemas(document)
    return document


def _with_names_of_choices(schema: Schema) -> Schema:
    """Names for generated code, where one of the choices is empty: generators find none for it."""
    choices = schema.get("enum", [])
    if "" in choices:
        names = [choice or "empty" for choice in choices if choice is not None]
        schema["x-enum-varnames"] = [re.sub(r"\W", "_", name).upper() for name in names]
    return schema


def _drop_unused_schemas(document: Schema) -> None:
    """Drop those whose fields stand in the operation one by one, as the parameters of a query do."""
    schemas, text = document["components"]["schemas"], json.dumps(document)
    for name in list(schemas):
        if f'"#/components/schemas/{name}"' not in text:
            del schemas[name]


def _operations(api: Api, document: Schema) -> Iterator[tuple[Operation, Schema]]:
    """Each operation and its part of the document."""
    operations = {
        operation.view_func.__name__: operation
        for router in api._get_bound_routers()
        for view in router.path_operations.values()
        for operation in view.operations
    }
    for path in document["paths"].values():
        for described in path.values():
            yield operations[described["operationId"]], described


def _describe(operation: Operation, described: Schema) -> None:
    """Add problems and headers to the description of an operation."""
    responses, parameters = described["responses"], described.setdefault("parameters", [])
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = _reference("headers", "RequestId")
    is_json = any("application/json" in response.get("content", {}) for response in responses.values())
    if "GET" in operation.methods and is_json:
        responses["200"]["headers"]["ETag"] = _reference("headers", "ETag")
        responses["304"] = {"description": "Nothing changed."}
        parameters.append(_reference("parameters", "IfNoneMatch"))
        if not any(parameter.get("name") == "fields" for parameter in parameters):
            parameters.append(_reference("parameters", "Fields"))
    if getattr(operation.view_func, "is_made_once", False):
        parameters.append(_reference("parameters", "IdempotencyKey"))
    for status, (name, _) in PROBLEMS.items():
        if "requestBody" in described or status not in OF_BODIES:
            responses.setdefault(str(status), _reference("responses", name))


def _problem(status: int) -> Schema:
    headers = {"X-Request-ID": _reference("headers", "RequestId")}
    if status == 401:
        headers["WWW-Authenticate"] = _reference("headers", "Challenge")
    if status in WITH_RETRY:
        headers["Retry-After"] = _reference("headers", "RetryAfter")
    content = {"application/problem+json": {"schema": _reference("schemas", "Problem")}}
    return {"description": PROBLEMS[status][1], "headers": headers, "content": content}


def _reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _join_infer(document: Schema) -> None:
    """Add the paths of the infer API, with names of schemas that are not those of others."""
    text = json.dumps(openapi_document(""))
    infer = json.loads(text.replace("#/components/schemas/", f"#/components/schemas/{PREFIX}"))
    schemas = {f"{PREFIX}{name}": schema for name, schema in infer["components"]["schemas"].items()}
    document["components"]["schemas"] |= schemas
    scheme = infer["components"]["securitySchemes"]["token"]
    scheme["description"] = "Of the page of the service; for the calls of services alone."
    document["components"]["securitySchemes"]["ServiceToken"] = scheme
    for path in infer["paths"].values():
        for method in METHODS:
            if method in path:
                path[method] |= {"tags": ["Calls of services"], "security": [{"ServiceToken": []}]}
    document["paths"] |= infer["paths"]
