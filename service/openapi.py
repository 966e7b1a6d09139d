"""What the API's documentation says that FastAPI cannot read off the code: raw bodies and problem documents."""

from typing import Any

from fastapi import FastAPI
from fastapi.security import HTTPBearer

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "on": {"type": "string", "format": "date-time"},
        "limit": {"type": "integer"},
        "retry_after": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
    },
}
_MEANING = {
    400: "Malformed input, of the Open Inference Protocol; `errors` names each field",
    401: "The session token or admin key is not a live one",
    403: "Proved, but the license or role does not allow this; or unproved, and the model denies",
    404: "No such thing",
    409: "The present state does not allow it",
    413: "The body is too large",
    415: "A media type we do not read",
    422: "Malformed input; `errors` names each field",
    429: "Too much: quota, concurrency, rate, or the address's own limit; see Retry-After",
    501: "A part of the protocol that is not spoken here",
    503: "Overloaded; nothing was charged",
}
PROBLEMS: dict[int, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {"schema": _PROBLEM}}}
    for status, text in _MEANING.items()
}
# Its clients read `error`, of JSON that is called nothing else.
OIP_PROBLEMS: dict[int, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {
            "application/json": {
                "schema": {
                    **_PROBLEM,
                    "required": [*_PROBLEM["required"], "error"],
                    "properties": {**_PROBLEM["properties"], "error": {"type": "string"}},
                }
            }
        },
    }
    for status, text in _MEANING.items()
}
ADMIN: dict[int | str, dict[str, Any]] = {status: PROBLEMS[status] for status in (401, 403, 422)}

OIP_ADMIN: dict[int | str, dict[str, Any]] = {status: OIP_PROBLEMS[status] for status in (400, 401, 403)}

_NONCE = "Zm9ydHktdHdvIGJ5dGVzIGFyZSB0b28gbWFueSBoZXI"
_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE_ROW = [[round((row + column) / 54, 2) for column in range(28)] for row in range(28)]

# For the description alone, so that /docs can send a key: the middleware and `control.caller` read the header.
BEARER = HTTPBearer(
    auto_error=False, scheme_name="Bearer", description="an admin key, a license key or a session's token"
)
_OPTIONAL_BEARER: list[dict[str, list[str]]] = [{"Bearer": []}, {}]

SESSION_BODY: dict[str, Any] = {
    "security": _OPTIONAL_BEARER,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["nonce"],
                    "properties": {"nonce": {"type": "string"}, "fingerprint": {"type": "array", "items": {}}},
                },
                "example": {"nonce": _NONCE},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["nonce"],
                    "properties": {
                        "nonce": {"type": "string"},
                        "fingerprint": {"type": "array", "items": _BINARY},
                        "stamped": _BINARY,
                    },
                }
            },
        },
    },
}
PREDICT_BODY: dict[str, Any] = {
    "security": _OPTIONAL_BEARER,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {"type": "array", "items": {}, "description": "(C, H, W) or (N, C, H, W)"}
                    },
                },
                "example": {"inputs": [[_EXAMPLE_ROW]]},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {"images": {"type": "array", "items": _BINARY}},
                }
            },
            "image/png": {"schema": _BINARY},
            "image/jpeg": {"schema": _BINARY},
            "application/x-npy": {"schema": _BINARY},
        },
    },
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}
_WANTED = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
}
INFER_BODY: dict[str, Any] = {
    "security": _OPTIONAL_BEARER,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {"type": "array", "items": _TENSOR},
                        "outputs": {"type": "array", "items": _WANTED},
                    },
                },
                "example": {
                    "inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [0] * 784}]
                },
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    },
}
REPOSITORY_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"parameters": {"type": "object"}}},
                "example": {"parameters": {}},
            }
        }
    }
}
INDEX_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
                "example": {"ready": True},
            }
        }
    }
}


def document(app: FastAPI) -> None:
    """Document malformed input of the Open Inference Protocol as it is answered: 400, not the framework's 422."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        found = written()
        for path, operations in found["paths"].items():
            for operation in operations.values() if path.startswith("/v2") else ():
                operation["responses"].pop("422", None)
        return found

    app.openapi = openapi  # type: ignore[method-assign]
