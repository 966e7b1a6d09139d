"""What licensees and strangers are told about the MNIST test images."""

import numpy as np
from signet_client import Client

from benchmarks.asking import Answers, ask, http, strangers_token
from benchmarks.gateway import Running, fresh_home
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import chi_square_p, exact, independent, uniform, wilson
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import MODEL, artefact, chosen, mnist, named, training_core_minutes
from models.data import Split

LICENSED = ("accuracy_licensed",)
STRANGER = ("stranger_accuracy", "stranger_uniform", "stranger_same_lie", "told_apart_independent")
_SAME_LIE_VERSIONS = 5


def licensed(budget: Budget, steps: Steps) -> list[Row]:
    """All test images through the licensee's own client, with a fingerprint license."""
    seed, best = chosen(budget)
    test = mnist().test.take(np.arange(budget.images))
    with fresh_home() as home, Running(home) as gateway:
        gateway.add(named(best))
        license = gateway.issue(MODEL, "fingerprint")
        found = []
        with Client(license.text, trust=home / "issuer.pub", server=gateway.url) as client:
            for start in steps.over(range(0, len(test), 100), "licensed"):
                found += [answer.index for answer in client.predict(list(test.images[start : start + 100, 0]))]
    right = int((np.array(found) == test.labels).sum())
    every = [artefact(budget, one).manifest.metrics["test_accuracy"] for one in range(budget.seeds)]
    extra = {
        "seed": seed,
        "chosen_on": "validation",
        "test_accuracy_by_seed": every,
        "seeds_sd": np.std(every),
        "training_core_minutes": training_core_minutes(budget),
    }
    low, high = wilson(right, len(test))
    return [
        Row(
            "accuracy_licensed",
            "MNIST LeNet-5, test images over HTTP through the client with a fingerprint license: share right",
            bar(">=", 0.99, "low"),
            right / len(test),
            len(test),
            low,
            high,
            "Wilson, 95 %",
            extra,
        )
    ]


def stranger(budget: Budget, steps: Steps) -> list[Row]:
    """The same images as a stranger, under model versions that differ in their decoy secret alone."""
    _, best = chosen(budget)
    test = mnist().test.take(np.arange(budget.images))
    told, same, compared = [], 0, 0
    with fresh_home() as home, Running(home) as gateway, http(gateway.url) as caller:
        for day in range(1, budget.secrets + 1):
            gateway.add(named(best, day=day))
        for version in steps.over(range(1, budget.secrets + 1), "strangers, by secret"):
            told.append(ask(caller, MODEL, test.images, version=version))
            if version <= _SAME_LIE_VERSIONS:
                again = _asked_again(gateway, test, version)
                same += sum(int((one.scores == told[-1].scores).all(axis=1).sum()) for one in again)
                compared += len(again) * len(test)
    return [*_right_and_uniform(told, test), _same_lie(same, compared), _independence(told, test)]


def _asked_again(gateway: Running, test: Split, version: int) -> list[Answers]:
    """Once more without a credential, and by two strangers with sessions, from other addresses."""
    rng = np.random.default_rng(version)
    answers = []
    for source, with_session in (("127.0.0.1", False), ("127.0.0.2", True), ("127.0.3.4", True)):
        with http(gateway.url, source) as caller:
            token = strangers_token(caller, MODEL, test.images.shape[1:], rng) if with_session else None
            answers.append(ask(caller, MODEL, test.images, version=version, bearer=token))
    return answers


def _right_and_uniform(told: list[Answers], test: Split) -> list[Row]:
    right = [int((answers.labels == test.labels).sum()) for answers in told]
    asked = len(told) * len(test)
    low, high = wilson(sum(right), asked)
    statistics, ps = zip(*(uniform(answers.labels, 10) for answers in told), strict=True)
    what = "the same images as a stranger, over model versions with a decoy secret each: "
    by_secret = {"secrets": len(told), "right_by_secret": [one / len(test) for one in right]}
    within = bar("within", [0.09, 0.11], "interval")
    pooled = chi_square_p(sum(statistics), 9 * len(told))
    return [
        Row(
            "stranger_accuracy",
            what + "share right",
            within,
            sum(right) / asked,
            asked,
            low,
            high,
            "Wilson, 95 %",
            by_secret,
        ),
        Row(
            "stranger_uniform",
            what + "p of labels that are uniform (chi-square)",
            bar(">=", 0.01),
            pooled,
            asked,
            min(ps),
            max(ps),
            "least and largest p of one secret; the value pools all",
            {"secrets": len(told), "p_by_secret": ps},
        ),
    ]


def _same_lie(same: int, compared: int) -> Row:
    low, high = exact(same, compared)
    what = "the same scores for a stranger who asks again and for two other strangers with sessions: share of images"
    return Row("stranger_same_lie", what, bar("==", 1.0), same / compared, compared, low, high, "exact, 95 %")


def _independence(told: list[Answers], test: Split) -> Row:
    """The decoy label against the true one; statistics of independent secrets add up."""
    tables = [independent(answers.labels, test.labels, 10) for answers in told]
    ps = [chi_square_p(*table) for table in tables]
    pooled = chi_square_p(sum(table[0] for table in tables), sum(table[1] for table in tables))
    return Row(
        "told_apart_independent",
        f"the decoy's label is independent of the true one: p (chi-square pooled over {len(told)} secrets)",
        bar(">=", 0.01),
        pooled,
        len(told) * len(test),
        min(ps),
        max(ps),
        "least and largest p of one secret; the value pools all",
        {"secrets": len(told), "p_by_secret": ps},
    )
