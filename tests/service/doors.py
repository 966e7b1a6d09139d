"""Every door of the gateway, what each needs, and how its address can be spelled."""

import re
from typing import Any
from urllib.parse import unquote

import httpx
from fastapi.routing import APIRoute

from service.admin_keys.tables import Role

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
ID = "0" * 32
NAMES = {
    "model": "digits",
    "version": "9",  # none, so that retiring it changes nothing
    "customer_id": f"cus_{ID}",
    "license_id": f"lic_{ID}",
    "admin_key_id": f"adm_{ID}",
    "job_id": f"job_{ID}",
    "commitment_id": f"com_{ID}",
    "verification_id": f"vfy_{ID}",
    "trace_id": f"trc_{ID}",
}
ADMIN = {  # what each route needs; a route that is missing here fails the test below
    ("POST", "/v1/customers"): Role.ISSUER,
    ("GET", "/v1/customers"): Role.AUDITOR,
    ("GET", "/v1/customers/{customer_id}"): Role.AUDITOR,
    ("POST", "/v1/licenses"): Role.ISSUER,
    ("GET", "/v1/licenses"): Role.AUDITOR,
    ("GET", "/v1/licenses/{license_id}"): Role.AUDITOR,
    ("GET", "/v1/licenses/{license_id}/file"): Role.ISSUER,
    ("GET", "/v1/licenses/{license_id}/bundle"): Role.ISSUER,
    ("GET", "/v1/licenses/{license_id}/verdict"): Role.AUDITOR,
    ("POST", "/v1/licenses/{license_id}/reissue"): Role.ISSUER,
    ("POST", "/v1/licenses/{license_id}/suspend"): Role.ISSUER,
    ("POST", "/v1/licenses/{license_id}/reinstate"): Role.ISSUER,
    ("POST", "/v1/licenses/{license_id}/revoke"): Role.ISSUER,
    ("POST", "/v1/licenses/{license_id}/check-in"): Role.ISSUER,
    ("GET", "/v1/jobs"): Role.AUDITOR,
    ("GET", "/v1/jobs/{job_id}"): Role.AUDITOR,
    ("GET", "/v1/jobs/{job_id}/events"): Role.AUDITOR,
    ("POST", "/v1/jobs/{job_id}/cancel"): Role.ISSUER,
    ("POST", "/v1/models"): Role.OWNER,
    ("GET", "/v1/models"): Role.AUDITOR,
    ("GET", "/v1/models/{model}"): Role.AUDITOR,
    ("POST", "/v1/models/{model}/versions/{version}/serve"): Role.OWNER,
    ("POST", "/v1/models/{model}/versions/{version}/retire"): Role.OWNER,
    ("POST", "/v1/ownership/commitments"): Role.OWNER,
    ("GET", "/v1/ownership/commitments"): Role.OWNER,
    ("GET", "/v1/ownership/commitments/{commitment_id}"): Role.OWNER,
    ("POST", "/v1/ownership/verifications"): Role.OWNER,
    ("GET", "/v1/ownership/verifications"): Role.OWNER,
    ("GET", "/v1/ownership/verifications/{verification_id}"): Role.OWNER,
    ("GET", "/v1/ownership/verifications/{verification_id}/evidence"): Role.OWNER,
    ("GET", "/v1/ownership/verifications/{verification_id}/report"): Role.OWNER,
    ("POST", "/v1/ownership/traces"): Role.OWNER,
    ("GET", "/v1/ownership/traces"): Role.OWNER,
    ("GET", "/v1/ownership/traces/{trace_id}"): Role.OWNER,
    ("GET", "/v1/ownership/traces/{trace_id}/evidence"): Role.OWNER,
    ("GET", "/v1/ownership/traces/{trace_id}/report"): Role.OWNER,
    ("POST", "/v1/admin-keys"): Role.OWNER,
    ("GET", "/v1/admin-keys"): Role.OWNER,
    ("POST", "/v1/admin-keys/{admin_key_id}/revoke"): Role.OWNER,
    ("GET", "/v1/audit"): Role.AUDITOR,
    ("GET", "/v1/audit/check"): Role.AUDITOR,
    ("GET", "/metrics"): Role.AUDITOR,
    ("GET", "/v2/models/stats"): Role.AUDITOR,
    ("GET", "/v2/models/{model}/stats"): Role.AUDITOR,
    ("GET", "/v2/models/{model}/versions/{version}/stats"): Role.AUDITOR,
    ("GET", "/v2/models/{model}/config"): Role.AUDITOR,
    ("GET", "/v2/models/{model}/versions/{version}/config"): Role.AUDITOR,
    ("POST", "/v2/repository/index"): Role.AUDITOR,
    ("POST", "/v2/repository/models/{model}/unload"): Role.OWNER,
    ("POST", "/v2/repository/models/{model}/load"): Role.OWNER,  # and it answers again
}
OPEN = {
    ("GET", "/v1/health/live"),
    ("HEAD", "/v1/health/live"),
    ("GET", "/v1/health/ready"),
    ("HEAD", "/v1/health/ready"),
    ("GET", "/.well-known/signet-keys.json"),
    ("POST", "/v1/models/{model}/sessions"),
    ("POST", "/v1/models/{model}/predict"),
    ("GET", "/v2"),
    ("GET", "/v2/"),
    ("GET", "/v2/health/live"),
    ("HEAD", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("HEAD", "/v2/health/ready"),
    *(
        (method, f"/v2/models/{{model}}{version}{asked}")
        for method, asked in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"))
        for version in ("", "/versions/{version}")
    ),
}
INVENTED = (
    *(
        "/",
        "/v1",
        "/v1/",
        "/v3",
        "/admin",
        "/v1/health",
        "/v1/models/digits/infer",
        "/v2/health",
        "/v1/usage",
        "/favicon.ico",
    ),
    *("/redoc", "/metrics/all", "/.well-known/", "/static/../metrics", "/v1/models/../customers", "*"),
)
ALLOWED = {
    Role.OWNER: {Role.OWNER, Role.ISSUER, Role.AUDITOR},
    Role.ISSUER: {Role.ISSUER, Role.AUDITOR},
    Role.AUDITOR: {Role.AUDITOR},
}


def routes(app: object) -> set[tuple[str, str]]:
    """Every method and path template the application knows."""
    found = set()
    stack = list(app.router.routes)  # type: ignore[attr-defined]
    while stack:
        route = stack.pop()
        nested = getattr(route, "effective_route_contexts", None) or getattr(route, "routes", None)
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
        elif callable(nested):
            found |= {(method, inner.path) for inner in nested() for method in inner.methods}
    return found


def filled(template: str) -> str:
    """A path with something in every place."""
    return re.sub(r"\{(\w+)\}", lambda match: NAMES[match[1]], template)


def spellings(path: str) -> set[str]:
    """The same path as a router, a proxy or an adversary may write it."""
    return {
        path,
        path + "/",
        path + "//",
        "/" + path,
        path.replace("/", "//"),
        path.upper(),
        path.title(),
        path + "%20",
        path + "%00",
        path + "%0a",
        path + ";x=1",
        path.replace("/v1", "/%76%31"),
        path.replace("/", "%2f").replace("%2f", "/", 1),
        path.replace("/v1/", "/v1/./"),
        path.replace("/v1/", "/v1/%2e/"),
        path.replace("/v1/", "/v1/x/../"),
        path.replace("/v1/", "/v1/x/%2e%2e/"),
        path.replace("/v1/", "/V1/"),
        path + "/%2e%2e",
        path + ".json",
        "/v1/health/live/.." + path,
        "/v1/health/live%2f.." + path,
    }


async def ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """The path exactly as written: httpx would tidy it. Decoded as a server does before it calls the application."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in client.headers.raw],
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await transport.app(scope, receive, send)  # type: ignore[arg-type]
    start, *rest = sent
    body = b"".join(message.get("body", b"") for message in rest)
    return httpx.Response(start["status"], headers=start["headers"], content=body)


def is_open(method: str, path: str) -> bool:
    """Whether the path, once decoded, is on the list of public ones."""
    decoded = unquote(path)
    if decoded == "/v2/models/stats":
        return False
    places = {r"\{model\}": "[a-z0-9][a-z0-9._-]{0,62}", r"\{version\}": "[0-9]{1,18}"}
    templates = {(verb, re.escape(template)) for verb, template in OPEN}
    for place, pattern in places.items():
        templates = {(verb, template.replace(place, pattern)) for verb, template in templates}
    known = any(verb == method and re.fullmatch(pattern, decoded) for verb, pattern in templates)
    return known or (method == "GET" and decoded in ("/docs", "/openapi.json"))
