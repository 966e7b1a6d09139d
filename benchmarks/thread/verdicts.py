"""Each verdict code at each route, to the client and to plain HTTP, as tests have it; here they are counted."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from benchmarks.thread.budgets import ROOT, Budget

VERDICTS = ("verdicts",)
TESTS = "tests/service/control/test_verdict_table.py"
COMMAND = f"python -m pytest {TESTS}"


def verdicts(budget: Budget, steps: Steps) -> list[Row]:
    """The share of the table's cases that pass; none is skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, *COMMAND.split()[1:], "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        for _ in steps.over([COMMAND], "verdicts"):
            subprocess.run(  # noqa: S603 - our own command
                command, cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL, check=False
            )
        suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 - what pytest just wrote
    assert suite is not None
    cases, failed = int(suite.get("tests", 0)), sum(int(suite.get(kind, 0)) for kind in ("failures", "errors"))
    skipped = int(suite.get("skipped", 0))
    passed = cases - failed - skipped
    what = "each verdict code at each route, to the client and to plain HTTP, on both databases: share as designed"
    share, interval = passed / max(cases, 1), exact(passed, max(cases, 1))
    return [Row("verdicts", what, bar("==", 1.0), share, cases, *interval, "exact, 95 %", {"passed": passed})]
