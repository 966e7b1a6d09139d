"""What a newcomer does: start the demonstration, paste every line it prints, and the README's lines too; then again."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
START_S = 180


class Demo:
    """`signet serve --demo` as a process in an empty folder, as `make run` starts it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self._output = (folder / "output.txt").open("w")
        command = [f"{sys.prefix}/bin/signet", "serve", "--demo", "--port", str(port)]
        environment = {**os.environ, "SIGNET_HOME": "./.signet", "COLUMNS": "100"}
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=folder, env=environment, stdout=self._output, stderr=subprocess.STDOUT
        )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self._process.poll() is None, self.printed
            try:
                if "documentation" in self.printed and httpx.get(f"{self.url}/v1/health/ready").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not ready after {START_S} s:\n{self.printed}")

    @property
    def printed(self) -> str:
        return (self.folder / "output.txt").read_text()

    def sections(self) -> dict[str, list[str]]:
        """The headings and the lines to paste under each."""
        found: dict[str, list[str]] = {}
        for block in re.split(r"\n(?=# )", self.printed.partition("Signet serves at")[2]):
            if block.startswith("# "):
                heading, _, rest = block.partition("\n")
                found[heading[2:]] = [rest.partition("\n\n")[0]]
        return found

    def paste(self, lines: str) -> str:
        """What bash prints for the lines."""
        done = subprocess.run(  # noqa: S603 - the lines that the demonstration printed
            ["bash", "-c", lines],  # noqa: S607
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(30)
        self._output.close()
        return code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=["first start", "second start"])
def demo(request: pytest.FixtureRequest, folder: Path) -> Iterator[Demo]:
    running = Demo(folder, _free_port())
    yield running
    assert running.stop() == 0, "Ctrl-C stops it cleanly"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    empty = tmp_path_factory.mktemp("clone")
    (empty / ".venv").symlink_to(sys.prefix)
    return empty


def _under(demo: Demo, words: str) -> str:
    return next(lines[0] for heading, lines in demo.sections().items() if words in heading)


def test_the_fingerprint_license_gets_eight_of_eight_right(demo: Demo) -> None:
    assert "8 of 8 right" in demo.paste(_under(demo, "Acme"))


def test_the_license_key_gets_the_labels_in_order(demo: Demo) -> None:
    assert demo.paste(_under(demo, "Globex's license key")).split() == str([str(i) for i in range(8)]).split()


def test_a_stranger_gets_answers_of_the_same_form_and_few_right(demo: Demo) -> None:
    printed = demo.paste(_under(demo, "stranger"))
    right = int(re.search(r"(\d) of 8 right", printed)[1])  # type: ignore[index]
    assert right <= 4  # five or more of eight by chance: 5 in 10,000
    assert len(re.findall(r"'\d'", printed)) == 8


def test_the_python_client_labels_a_picture(demo: Demo) -> None:
    assert demo.paste(_under(demo, "Python client")).strip() == "3"


def test_a_suspended_licensee_is_told_so_and_served_again_afterwards(demo: Demo) -> None:
    printed = demo.paste(_under(demo, "suspend"))
    assert '"code":"SUSPENDED"' in printed
    assert printed.count('"status":"active"') == 1
    assert demo.paste(_under(demo, "Globex's license key")).split() == str([str(i) for i in range(8)]).split()


def test_a_stolen_copy_is_verified_and_the_evidence_holds_offline(demo: Demo) -> None:
    for attempt in range(2):  # the line can be pasted again
        printed = demo.paste(_under(demo, "stolen copy"))
        assert printed.startswith("VERIFIED: fine-tuned.safetensors was made from digits/2"), attempt
    evidence = sorted((demo.folder / ".signet" / "suspects").glob("fine-tuned-*.json"))[-1]
    scripts = ROOT / "client/signet_client"
    checked = demo.paste(f".venv/bin/python -I {scripts}/evidence.py {evidence} .signet/issuer.pub")
    assert checked.endswith("the verdict is: verified\n")
    suspect = ".signet/suspects/fine-tuned.safetensors"
    assert "DOES NOT" not in demo.paste(f".venv/bin/python -I {scripts}/suspect.py {evidence} {suspect}")
    assert "<h1>Verified</h1>" in evidence.with_suffix(".html").read_text()


def test_an_unmarked_network_is_not_verified(demo: Demo) -> None:
    assert demo.paste(_under(demo, "without the marks")).startswith("NOT VERIFIED: ")


def test_the_documentation_is_served_without_anybody_elses_server(demo: Demo) -> None:
    page = httpx.get(_under(demo, "documentation").strip()).text
    assert "swagger-ui-bundle.js" in page
    assert not re.findall(r"(?:src|href)=[\"']https?://", page)


def test_no_secret_is_on_the_screen(demo: Demo) -> None:
    assert not re.findall(r"sg[na]_[0-9a-f]{12}\.", demo.printed)
    for path in (
        "keys/owner.key",
        "keys/ring.json",
        "keys/ownership.secret",
        "licenses/acme.lic",
        "licenses/globex.lic",
        "licenses/globex.key",
    ):
        assert (demo.folder / ".signet" / path).stat().st_mode & 0o077 == 0


def test_the_readmes_python_runs(demo: Demo) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    here = code[1].replace('trust=".signet/issuer.pub"', f'trust=".signet/issuer.pub", server="{demo.url}"')
    assert demo.paste(f".venv/bin/python - <<'END'\n{here}\nEND").strip() == "3"


def test_the_readmes_curl_lines_answer(demo: Demo) -> None:
    block = re.search(r"(curl -s -H.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    answers = demo.paste(block[1].replace("http://127.0.0.1:8000", demo.url))
    assert answers.count('"predictions"') == 2


def test_a_busy_port_is_said(demo: Demo) -> None:
    port = demo.url.rpartition(":")[2]
    again = subprocess.run(  # noqa: S603 - our own command
        [f"{sys.prefix}/bin/signet", "serve", "--port", port], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 1
    assert f"PORT={int(port) + 1}" in again.stderr
