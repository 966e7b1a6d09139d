"""The worker as a process: killed in the middle of each step, in twos, on a full disk."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from service.database import reading
from service.gateway import Gateway
from service.jobs import worker
from service.jobs.durable import database_url as url_of_durable
from service.settings import Settings
from service.usage.tables import Account
from tests.service.serving import ROOT
from tests.service.students.conftest import Ask, ask, teacher, teaching  # noqa: F401 - fixtures

pytestmark = pytest.mark.timeout(900)
STEPS = ("load", "distil", "measure", "write", "activate")


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGNET_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    url = settings.database_url.get_secret_value()
    return {**kept, "PYTHONPATH": path, "SIGNET_DATABASE_URL": url, "OMP_NUM_THREADS": "1"}


def start(settings: Settings, *words: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", *words]
    with (settings.home / "worker.log").open("ab") as log:
        return subprocess.Popen(line, env=environment(settings), cwd=ROOT, stderr=log, stdout=log)  # noqa: S603


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(process.wait, 240)


def signet_worker(settings: Settings) -> subprocess.Popen[bytes]:
    return start(settings, "service.cli", "--home", str(settings.home), "worker", "--until-idle")


def log_of(settings: Settings) -> str:
    return (settings.home / "worker.log").read_text()


@pytest.mark.slow
async def test_killed_in_each_step_in_turn_it_goes_on_where_it_was(
    admin: httpx.AsyncClient,
    gateway: Gateway,
    settings: Settings,
    ask: Ask,  # noqa: F811
) -> None:
    issued = await ask()
    job = f"/v1/jobs/{issued['student']['job_id']}"
    for step in STEPS:
        assert (await admin.get(job)).json()["state"] in ("queued", "running")
        dying = start(settings, "tests.service.jobs.dying", str(settings.home), step)
        assert await ended(dying) == -signal.SIGKILL, log_of(settings)
    assert await ended(signet_worker(settings)) == 0, log_of(settings)
    assert (await admin.get(job)).json()["state"] == "succeeded"
    license = (await admin.get(f"/v1/licenses/{issued['id']}")).json()
    assert (license["status"], license["student"]["state"], len(license["credentials"])) == ("active", "ready", 1)
    first, second = map(int, (settings.home / "started.txt").read_text().split())
    assert (first, second > 1) == (1, True), "the second try begins with the second epoch"
    assert list((settings.home / "jobs").iterdir()) == []
    assert [path.name for path in (settings.home / "students").iterdir()] == [license["student"]["id"]]
    await gateway.sync.refresh()
    assert (await admin.get(f"/v1/licenses/{issued['id']}/bundle")).status_code == 200
    async with reading(gateway.sessions) as session:
        assert len((await session.scalars(select(Account).where(Account.id == issued["id"]))).all()) == 1


@pytest.mark.slow
async def test_two_workers_do_each_job_once(
    admin: httpx.AsyncClient,
    settings: Settings,
    ask: Ask,  # noqa: F811
) -> None:
    wanted = [(await ask())["student"]["job_id"] for _ in range(2)]
    codes = await asyncio.gather(*(ended(signet_worker(settings)) for _ in range(2)))
    assert sorted(codes) in ([0, 0], [0, 3]), log_of(settings)
    for job_id in wanted:
        assert (await admin.get(f"/v1/jobs/{job_id}")).json()["state"] == "succeeded"
    assert log_of(settings).count("job.started") == len(wanted)


@pytest.mark.slow
async def test_a_cancelled_job_stops_and_the_next_begins(
    admin: httpx.AsyncClient,
    settings: Settings,
    gateway: Gateway,
    teacher: Any,  # noqa: F811
    digits: Any,
    artefact: Any,
) -> None:
    from tests.service.conftest import artefact_files
    from tests.service.students.teachers import with_students

    long = with_students(artefact, digits, epochs=10_000)
    assert (await admin.post("/v1/models", files=artefact_files(long))).status_code == 201
    customer = (await admin.post("/v1/customers", json={"name": "Acme"})).json()
    body = {"customer_id": customer["id"], "model": "digits", "credential": "serial_number"}
    issued = (await admin.post("/v1/licenses", json=body)).json()
    job = f"/v1/jobs/{issued['student']['job_id']}"
    process = signet_worker(settings)
    until = time.monotonic() + 90
    while (await admin.get(job)).json()["done"] < 2:
        assert time.monotonic() < until, log_of(settings)
        await asyncio.sleep(0.2)
    await admin.post(f"/v1/licenses/{issued['id']}/revoke")
    assert (await admin.get(job)).json()["state"] == "cancelled"
    assert await ended(process) == 0
    assert list((settings.home / "jobs").iterdir()) == []


@contextmanager
def a_small_disk(folder: Path) -> Iterator[Path]:
    """A folder with room for 16 KiB."""
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:  # noqa: S603
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted by root alone")
@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("folder", ["jobs", "students"])
async def test_a_full_disk_is_said_and_leaves_nothing(
    admin: httpx.AsyncClient,
    settings: Settings,
    ask: Ask,  # noqa: F811
    folder: str,
) -> None:
    issued = await ask()
    with a_small_disk(settings.home / folder) as full:
        assert await ended(signet_worker(settings)) == 0, log_of(settings)
        assert [*full.iterdir()] == []
    license = (await admin.get(f"/v1/licenses/{issued['id']}")).json()
    assert (license["status"], license["student"]["state"], license["credentials"]) == ("pending", "failed", [])
    assert "full" in license["student"]["failure"]


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_worker_says_no_password_and_asks_nobody_else(
    settings: Settings,
    admin: httpx.AsyncClient,
) -> None:
    assert await ended(signet_worker(settings)) == 0
    said = log_of(settings)
    assert "dbos.dev" not in said
    assert "postgres@" not in said
    assert "worker.stopped" in said


def test_dbos_is_beside_the_gateways_own_tables() -> None:
    assert url_of_durable("sqlite+aiosqlite:////srv/signet/signet.db") == "sqlite:////srv/signet/signet-jobs.db"
    assert (
        url_of_durable("postgresql+asyncpg://me:p%40ss@db.example:5433/signet?ssl=require")
        == "postgresql+psycopg://me:p%40ss@db.example:5433/signet?sslmode=require"
    )
    assert worker.__name__
