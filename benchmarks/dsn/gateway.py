"""Stamped images over HTTP, from many customers at once: answered as offline, counted to whom they belong to.

Most customers share one student, some have one of their own; the gateway's own worker makes them. Requests of all
customers are mixed, several under way at any time. Without a number that is registered, nobody is answered.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from signet_client import Client, stamp
from torch import Tensor

from benchmarks.asking import ask, http
from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.students import images, kind_of, shelf_of, teacher
from benchmarks.gateway import Issued, Running, checked, fresh_home, issued
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.runner import Part
from benchmarks.statistics import exact, uniform, wilson
from models.checkpoints import decode_weights, encode_calibration, encode_distillation, encode_weights
from models.predictor import Predictor, predict
from models.serial_numbers import dsn
from service.catalogue.artefacts import Artefact
from service.clock import system_clock
from service.gateway import Gateway
from service.keyring import open_ring
from service.settings import Settings
from service.students.numbers import again

ROWS = ("gateway_labels", "gateway_counted", "gateway_wrong", "gateway_wrong_uniform")
MODEL = "mnist"
CHUNK = 5  # images a request
CALLERS = 8
# The limit on wrong stamps would hide what those who show them are told.
GUESSING = {"SIGNET_STAMP_MISSES_PER_MINUTE": "1000000"}
Grid = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Size:
    """How many images and customers, how many of these with a student of their own, and how long that one learns."""

    images: int
    customers: int
    own: int
    epochs: int
    leak: float


SIZES = {"smoke": Size(200, 10, 1, 3, 1.0), "cpu": Size(10_000, 100, 2, 6, 0.1), "gpu": Size(10_000, 100, 10, 14, 0.1)}


@dataclass(frozen=True)
class Customer:
    """Who holds a license; his student, and the number that opens it, which is his own where the student is."""

    license: Issued
    student: Predictor
    number: Tensor  # (n,)
    stamp: dsn.Stamp

    def stamped(self, levels: Grid) -> Grid:
        """Grey levels (N, C, H, W) with his stamp."""
        return stamp(levels, self.license.file)

    def labels(self, levels: Grid) -> Labels:
        """What the student says to them in this process, where nobody serves it."""
        raw = self.student.input_spec.from_grid(torch.from_numpy(levels))
        return predict(self.student, self.stamp.put(raw, self.number)).argmax(dim=1).numpy()


def gateway(budget: Budget, steps: Steps) -> list[Row]:
    """Customers first, then those whose stamps are wrong; both with the same test images."""
    size, dataset = SIZES[budget.name], images(budget, "mnist")
    test = dataset.test.take(np.arange(size.images))
    artefact, reader = _artefact(budget, size), dsn.Stamp(kind_of(budget, "mnist").layout, dataset.input_spec)
    with fresh_home() as home, Running(home, **GUESSING) as running:
        running.add(artefact)
        customers = _customers(running, artefact, reader, size, steps)
        share = np.random.default_rng(0).permutation(np.arange(len(test)) % len(customers))  # whose image
        same = _asked(running, customers, test.images, share, steps)
        used = _used(running, customers)
        wrong = _strangers(running, customers, reader, test.images)
        after = _used(running, customers)
    counted = [
        paid == paid_then == sum(share == row) for row, (paid, paid_then) in enumerate(zip(used, after, strict=True))
    ]
    return [*_licensed_rows(size, same, counted), *_wrong_rows(wrong, test.labels)]


def _artefact(budget: Budget, size: Size) -> Artefact:
    """The teacher of the other rows, with a policy for its students."""
    kind, dataset = kind_of(budget, "mnist"), images(budget, "mnist")
    taught_by = teacher(budget, shelf_of(budget), "mnist")
    student = replace(kind.student, epochs=size.epochs)
    return Artefact.pack(
        MODEL,
        kind.network,
        dict(kind.config),
        dataset.input_spec,
        dataset.output_spec,
        encode_weights(taught_by.network),
        encode_calibration(dataset.calibration.images),
        created_at=datetime(2027, 1, 1, tzinfo=UTC),
        serial_numbers=dsn.Policy(kind.layout, kind.network, kind.config, student, size.leak).to_dict(),
        distillation=encode_distillation(dataset.train.images),
    )


def _customers(running: Running, artefact: Artefact, reader: dsn.Stamp, size: Size, steps: Steps) -> list[Customer]:
    """Licensed, with their students made."""
    with running.admin() as admin:
        answers = []
        for index in range(size.customers):
            customer = checked(admin.post("/v1/customers", json={"name": f"Customer {index}"})).json()
            whose = "own" if index < size.own else "shared"
            body = {"customer_id": customer["id"], "model": MODEL, "credential": "serial_number", "student": whose}
            answers.append(checked(admin.post("/v1/licenses", json=body)).json())
        for job in steps.over(list(dict.fromkeys(one["student"]["job_id"] for one in answers)), "students"):
            _wait(admin, job)
        for one in answers:
            one["license_file"] = checked(admin.get(f"/v1/licenses/{one['id']}/file")).text
    opened = asyncio.run(_numbers(running.settings(), reader.layout.bits))
    students = {each: _student(running.home, artefact, each) for each in opened}
    held = [(issued(one, running.home), one["student"]["id"]) for one in answers]
    return [Customer(license, students[each], opened[each], reader) for license, each in held]


def _wait(admin: httpx.Client, job_id: str) -> None:
    while True:
        job = checked(admin.get(f"/v1/jobs/{job_id}")).json()
        if job["state"] == "succeeded":
            return
        if job["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"a student's job has {job['state']}: {job['failure']}")
        time.sleep(1)


async def _numbers(settings: Settings, bits: int) -> dict[str, Tensor]:
    """The number (n,) that each student answers to, by its id; the gateway's ring makes it again."""
    ring = open_ring(settings.home / "keys" / "ring.json", create=False)
    looking = Gateway.build(settings, ring, system_clock)
    await looking.start(serving=False)
    students = looking.book.students.values()
    found = {one.id: again(ring, one.statement, one.issuer_key_id, bits).bits for one in students}
    await looking.stop()
    return {id: torch.from_numpy(number) for id, number in found.items()}


def _student(home: Path, artefact: Artefact, student_id: str) -> Predictor:
    """As it lies in the home."""
    network = dsn.Policy.from_dict(artefact.manifest.serial_numbers or {}).student()
    decode_weights(network, (home / "students" / student_id / "weights.safetensors").read_bytes())
    return Predictor(network, artefact.manifest.input_spec, artefact.manifest.output_spec)


def _asked(running: Running, customers: Sequence[Customer], levels: Grid, share: Labels, steps: Steps) -> int:
    """How many of the images (N, C, H, W), each its customer's, are answered through his client as offline."""
    requests = []
    for row, customer in enumerate(customers):
        own = levels[share == row]
        requests += [
            (row, own[at : at + CHUNK], customer.labels(own[at : at + CHUNK])) for at in range(0, len(own), CHUNK)
        ]
    order = np.random.default_rng(1).permutation(len(requests))
    with ExitStack() as stack, ThreadPoolExecutor(CALLERS) as pool:
        trust = running.home / "issuer.pub"
        clients = [
            stack.enter_context(Client(one.license.text, trust=trust, server=running.url, timeout=120))
            for one in customers
        ]

        def once(request: tuple[int, Grid, Labels]) -> int:
            row, some, expected = request
            found = [answer.index for answer in clients[row].predict(list(some))]
            return int((np.array(found) == expected).sum())

        asked = [pool.submit(once, requests[each]) for each in order]
        return sum(each.result() for each in steps.over(asked, "requests of all customers, mixed"))


def _used(running: Running, customers: Sequence[Customer]) -> list[int]:
    with running.admin() as admin:
        return [checked(admin.get(f"/v1/licenses/{one.license.id}")).json()["used"] for one in customers]


def _strangers(running: Running, customers: Sequence[Customer], reader: dsn.Stamp, levels: Grid) -> dict[str, Labels]:
    """What images (N, C, H, W) are answered with stamps that nobody has, one bit off, and two customers' by turns."""
    spec, bits, generator = reader.spec, reader.layout.bits, torch.Generator().manual_seed(0)
    raw = spec.from_grid(torch.from_numpy(levels))
    first, second = (one.stamped(levels) for one in (customers[0], customers[-1]))
    number = reader.read(spec.from_grid(torch.from_numpy(first[:1])))[0] == 1
    guessed = torch.rand(len(levels), bits, generator=generator) < 0.5
    wrong_bit = torch.randint(bits, (len(levels), 1), generator=generator)
    shown = {
        "numbers that nobody has": spec.to_grid(reader.put(raw, guessed)).numpy(),
        "a customer's number, one bit off": spec.to_grid(
            reader.put(raw, number ^ (torch.arange(bits) == wrong_bit))
        ).numpy(),
        "two customers' numbers in one request": np.where(
            np.arange(len(levels)).reshape(-1, 1, 1, 1) % 2, first, second
        ),
    }
    with http(running.url) as caller:
        return {what: ask(caller, MODEL, stamped).labels for what, stamped in shown.items()}


def _licensed_rows(size: Size, same: int, counted: list[bool]) -> list[Row]:
    extra = {"customers": size.customers, "students": size.own + 1, "images_a_request": CHUNK, "callers": CALLERS}
    asked, how = f"{size.images:,} stamped MNIST images over HTTP, {size.customers} customers mixed: ", "exact, 95 %"
    shares = (
        (same / size.images, size.images, *exact(same, size.images)),
        (
            sum(counted) / len(counted),
            len(counted),
            *exact(sum(counted), len(counted)),
        ),
    )
    whats = (
        "share with the label that the student gives offline",
        "share of licenses that are charged for just theirs",
    )
    return [
        Row(id, asked + what, bar("==", 1.0), *share, how, extra)
        for id, what, share in zip(ROWS[:2], whats, shares, strict=True)
    ]


def _wrong_rows(told: dict[str, Labels], truth: Labels) -> list[Row]:
    """Of the kind of wrong stamp that is furthest off."""
    count = len(truth)
    right = {what: int((labels == truth).sum()) for what, labels in told.items()}
    ps = {what: uniform(labels, 10)[1] for what, labels in told.items()}
    what, furthest = max(right.items(), key=lambda item: abs(item[1] - count / 10))
    asked = f"the same images with wrong stamps ({', '.join(told)}): "
    within, share = bar("within", [0.08, 0.12], "interval"), right[what] / count
    p_range = "least and largest p"
    return [
        Row(ROWS[2], asked + "share right, where it is furthest from chance", within, share, count,
            *wilson(furthest, count), "Wilson, 95 %", {"right": right}),
        Row(ROWS[3], asked + "p of labels that are uniform (chi-square), the least", bar(">=", 0.01), min(ps.values()),
            count, min(ps.values()), max(ps.values()), p_range, {"p": ps}),
    ]  # fmt: skip


PARTS: tuple[Part[Budget], ...] = (Part("gateway", ROWS, gateway),)
