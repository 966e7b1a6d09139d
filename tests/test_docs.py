"""The documents say what is so."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_command_reference_is_the_present_one(tmp_path: Path) -> None:
    written = tmp_path / "cli.md"
    command = [sys.executable, "-m", "typer", "service.cli.main", "utils", "docs", "--name", "signet"]
    command += ["--title", "The signet command", "--output", str(written)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)  # noqa: S603 - typer's own generator
    assert (ROOT / "docs/cli.md").read_text() == written.read_text(), "run: make docs"


def test_every_decision_is_in_the_index() -> None:
    decisions = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (decisions / "README.md").read_text()))
    assert listed == {path.name for path in decisions.glob("0*.md")}


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_figures_of_the_readme_are_the_measured_ones() -> None:
    files = ("thread.json", "activeguard.json")
    rows = {row["id"]: row for name in files for row in json.loads((ROOT / "docs/results" / name).read_text())["rows"]}
    accepted, told = rows["fingerprints_accepted"], rows["told_apart_auc"]
    low, high = told["spread"]["low"], told["spread"]["high"]
    readme = (ROOT / "README.md").read_text()
    assert f"{accepted['value'] * accepted['n']:,.0f} of {accepted['n']:,}" in readme
    assert f"AUC {told['value']:.3f} (95 %: {low:.3f} to {high:.3f})" in readme
    tries, pruned, disguised = rows["codewords_white_box"], rows["pruned_strong"], rows["obfuscated"]
    most = 100 * tries["spread"]["high"]
    assert f"{tries['value'] * tries['n']:.0f} of {tries['n']:,} tries" in readme
    assert f"(95 %: up to {most:.3f} %)" in readme
    assert f"with up to {100 * pruned['value']:.0f} % of the weights pruned" in readme
    assert f"{disguised['value'] * disguised['n']:.0f} of {disguised['n']} disguised copies" in readme
