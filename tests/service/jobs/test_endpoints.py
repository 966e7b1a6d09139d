"""`/v1/jobs`: who sees what, and the events of a job until it ends."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.admin_keys.tables import Role
from service.gateway import Gateway
from service.jobs.workshop import Workshop
from service.settings import Settings
from tests.service import expect
from tests.service.conftest import SetClock, client_of, mint_admin
from tests.service.students.conftest import Ask, ask, teacher, teaching, work_off, workshop  # noqa: F401 - fixtures

UNKNOWN = "job_" + "0" * 32


def events_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and data of server-sent events; comments are left out."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


async def test_jobs_are_listed_page_by_page_and_by_state(
    admin: httpx.AsyncClient,
    ask: Ask,  # noqa: F811
    workshop: Workshop,  # noqa: F811
    clock: SetClock,
) -> None:
    issued = []
    for _ in range(3):
        issued.append((await ask())["student"]["job_id"])
        clock.advance(seconds=1)
    await admin.post(f"/v1/jobs/{issued[1]}/cancel")
    first = (await admin.get("/v1/jobs", params={"limit": 2})).json()
    rest = (await admin.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [job["id"] for job in (*first["items"], *rest["items"])] == issued
    queued = (await admin.get("/v1/jobs", params={"state": "queued", "kind": "distillation"})).json()
    assert [job["id"] for job in queued["items"]] == [issued[0], issued[2]]


async def test_the_events_of_a_job_run_until_it_has_ended(
    admin: httpx.AsyncClient,
    ask: Ask,  # noqa: F811
    workshop: Workshop,  # noqa: F811
) -> None:
    job_id = (await ask())["student"]["job_id"]
    following = asyncio.create_task(admin.get(f"/v1/jobs/{job_id}/events", timeout=60))
    await asyncio.sleep(0.7)
    await work_off(workshop)
    response = await following
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_in(response.text)
    assert events[0] == ("progress", {**events[0][1], "id": job_id, "state": "queued"})
    assert events[-1] == ("end", {**events[-1][1], "id": job_id, "state": "succeeded", "step": "activate"})
    assert [name for name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    over = events_in((await admin.get(f"/v1/jobs/{job_id}/events", timeout=60)).text)
    assert over == [events[-1]]


async def test_a_job_that_has_ended_is_not_cancelled(
    admin: httpx.AsyncClient,
    ask: Ask,  # noqa: F811
    workshop: Workshop,  # noqa: F811
) -> None:
    issued = await ask()
    await work_off(workshop)
    refused = await admin.post(f"/v1/jobs/{issued['student']['job_id']}/cancel")
    assert "succeeded" in expect.problem(refused, 409, "CONFLICT", "job_id")["detail"]
    assert (await admin.get(f"/v1/licenses/{issued['id']}")).json()["status"] == "active"


@pytest.mark.parametrize("path", ["", "/events"])
async def test_an_unknown_job_is_not_found(admin: httpx.AsyncClient, path: str) -> None:
    expect.problem(await admin.get(f"/v1/jobs/{UNKNOWN}{path}"), 404, "UNKNOWN_RESOURCE", "job_id")
    expect.problem(await admin.get(f"/v1/jobs/job_1{path}"), 422, "INVALID_INPUT")
    expect.problem(await admin.post(f"/v1/jobs/{UNKNOWN}/cancel"), 404, "UNKNOWN_RESOURCE", "job_id")


async def test_auditors_read_and_only_issuers_cancel(
    app: FastAPI,
    gateway: Gateway,
    settings: Settings,
    clock: SetClock,
    stranger: httpx.AsyncClient,
    ask: Ask,  # noqa: F811
) -> None:
    job = f"/v1/jobs/{(await ask())['student']['job_id']}"
    for path in ("/v1/jobs", job, f"{job}/events"):
        expect.problem(await stranger.get(path), 401, "ADMIN_KEY_REQUIRED")
    for role, cancels in ((Role.AUDITOR, 403), (Role.ISSUER, 200)):
        key = await mint_admin(settings, clock, role)
        async with client_of(app, Authorization=f"Bearer {key}") as client:
            assert (await client.get("/v1/jobs")).status_code == 200
            assert (await client.get(job)).status_code == 200
            assert (await client.post(f"{job}/cancel")).status_code == cancels
            assert (await client.get(f"{job}/events")).status_code == 200 if cancels == 200 else True
