"""The API of services as an OpenAPI document. The API page shows the same text."""

from __future__ import annotations

from typing import Any

from projects.formats.pictures.picture_formats import FORMAT_NAMES

Schema = dict[str, Any]

ERRORS: dict[int, tuple[str, list[str]]] = {
    400: (
        "The call cannot be understood.",
        [
            *("IMAGE_MISSING", "IMAGE_UNREADABLE", "TOO_MANY_IMAGES", "BODY_BROKEN", "FEEDBACK_REFUSED"),
            "REQUEST_BROKEN",
        ],
    ),
    401: ("The token is missing, wrong or revoked.", ["TOKEN_MISSING", "TOKEN_WRONG"]),
    403: ("Pages of this website may not call the service (CORS).", ["ORIGIN_NOT_ALLOWED"]),
    404: (
        "There is no such service or address, or the service keeps no such request.",
        ["SERVICE_NOT_FOUND", "REQUEST_NOT_FOUND", "ADDRESS_NOT_FOUND"],
    ),
    405: ("Only POST is answered.", ["METHOD_NOT_ALLOWED"]),
    408: ("The request did not come in time.", ["BODY_TOO_SLOW"]),
    411: ("The server between needs the length of the body.", ["LENGTH_REQUIRED"]),
    413: ("A picture or the call is too large.", ["IMAGE_TOO_LARGE"]),
    415: ("The body has another type.", ["NOT_MULTIPART", "NOT_JSON"]),
    429: (
        "Too many calls at once, or with wrong tokens; Retry-After says when to come again.",
        ["TOO_MANY_CALLS", "TOO_MANY_WRONG_TOKENS"],
    ),
    500: ("The prediction failed.", ["INTERNAL"]),
    503: (
        "The service is starting or stopped, its model is not there, or a part of the site does not respond.",
        [
            *("SERVICE_DEPLOYING", "SERVICE_NOT_RUNNING", "MODEL_UNAVAILABLE"),
            *("DATABASE_UNAVAILABLE", "QUEUE_UNAVAILABLE", "STORAGE_UNAVAILABLE"),
        ],
    ),
}
ANSWER: Schema = {
    "type": "object",
    "required": [
        *("predicted_label", "predicted_labels", "scores", "is_known", "settings"),
        *("version", "request_id", "is_collected"),
    ],
    "properties": {
        "predicted_label": {"type": "string", "description": "The label with the highest score."},
        "predicted_labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The best label, or where images may carry several labels all that reach their "
            "thresholds; empty if none reaches its threshold or min_confidence.",
        },
        "scores": {
            "type": "array",
            "description": "The five best labels with their calibrated scores, best first.",
            "items": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
        },
        "is_known": {
            "type": ["boolean", "null"],
            "description": "false: the picture is unknown: the model is unsure, the best score is below"
            " min_confidence, or the picture is unlike the training images. predicted_label is then only the"
            " closest label.",
        },
        "settings": {"$ref": "#/components/schemas/Settings"},
        "version": {"type": "string", "description": "The training version that answered."},
        "request_id": {"type": "string", "format": "uuid"},
        "is_collected": {"type": "boolean", "description": "Whether the service keeps the picture."},
    },
    "example": {
        "predicted_label": "roses",
        "predicted_labels": ["roses"],
        "scores": [["roses", 0.971204], ["tulips", 0.020431]],
        "is_known": True,
        "settings": {"min_confidence": 0.8, "min_familiarity": None},
        "version": "V001",
        "request_id": "0b1f6a0e-6f0b-4a3e-9c39-0d5a3c1f2a77",
        "is_collected": False,
    },
}
SETTINGS: Schema = {
    "type": "object",
    "description": "The settings by which the service answered.",
    "required": ["min_familiarity"],
    "properties": {
        "min_confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Where images carry one label: below it, an image gets no label and is unknown.",
        },
        "thresholds": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "Where images may carry several labels: the threshold of each label named in the "
            "answer.",
        },
        "min_familiarity": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "Familiarity from which on a picture is known; null: the model’s own limits.",
        },
    },
}
SEVERAL: Schema = {
    "type": "object",
    "required": ["results", "version", "request_id"],
    "properties": {
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}},
        "version": {"type": "string"},
        "request_id": {"type": "string", "format": "uuid"},
    },
}
PROBLEM: Schema = {
    "type": "object",
    "required": ["error_code", "error_msg", "hint"],
    "properties": {name: {"type": "string"} for name in ("error_code", "error_msg", "hint")},
    "example": {
        "error_code": "IMAGE_MISSING",
        "error_msg": "The body has no file part “images”.",
        "hint": "curl -F 'images=@photo.jpg' -H 'X-Auth-Token: …' <address>",
    },
}
FEEDBACK: Schema = {
    "type": "object",
    "required": ["request_id", "is_right"],
    "properties": {
        "request_id": {"type": "string", "format": "uuid"},
        "is_right": {"type": "boolean"},
        "correct_label": {"type": "string", "maxLength": 64},
        "correct_labels": {"type": "array", "items": {"type": "string"}},
    },
    "example": {
        "request_id": "0b1f6a0e-6f0b-4a3e-9c39-0d5a3c1f2a77",
        "is_right": False,
        "correct_label": "tulips",
    },
}


def openapi_document(address: str) -> Schema:
    """The OpenAPI 3.1 document of the site at `address`."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "exeml services", "version": "1"},
        "servers": [{"url": address}],
        "security": [{"token": []}],
        "paths": {
            "/v1/infers/{service_id}": {"parameters": [_service_id()], "post": _infer()},
            "/v1/infers/{service_id}/feedback": {"parameters": [_service_id()], "post": _feedback()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "schemas": {
                "Answer": ANSWER,
                "Settings": SETTINGS,
                "Several": SEVERAL,
                "Problem": PROBLEM,
                "Feedback": FEEDBACK,
            },
        },
    }


def _service_id() -> Schema:
    return {
        "name": "service_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "description": "From the URL on the service's page.",
    }


def images_body() -> Schema:
    """The body of a call: up to 32 pictures."""
    image = {"type": "string", "format": "binary", "description": f"A file in {FORMAT_NAMES}."}
    images = {"type": "array", "maxItems": 32, "items": image}
    form = {"type": "object", "required": ["images"], "properties": {"images": images}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def one_or_several(prefix: str = "") -> Schema:
    """The response to a call. `prefix`: of the names of the schemas."""
    names = [f"{prefix}{name}" for name in ("Answer", "Several")]
    answer = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
    return _json_response("The answer, or one for each picture.", answer)


def _infer() -> Schema:
    return {
        "operationId": "infer",
        "summary": "Labels of one picture, or of several",
        "requestBody": images_body(),
        "responses": {"200": one_or_several(), **_error_responses()},
    }


def _feedback() -> Schema:
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Feedback"}}}
    answer = {
        "type": "object",
        "properties": {"request_id": {"type": "string"}, "is_right": {"type": "boolean"}},
    }
    return {
        "operationId": "feedback",
        "summary": "Whether an answer was right; for requests that were collected",
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _json_response("Kept.", answer), **_error_responses()},
    }


def _error_responses() -> Schema:
    problem = {"$ref": "#/components/schemas/Problem"}
    return {str(status): _json_response(description, problem) for status, (description, _) in ERRORS.items()}


def _json_response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
