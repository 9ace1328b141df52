"""The examples on the contexts' pages are what happens: each page's requests, as they stand there, on a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures_studio import RunningServer, comfyvn
from PIL import Image

PAGES = Path(__file__).parents[2] / "docs" / "contexts"

OWN = (
    "scene", "playthrough", "save", "worldline", "pov", "snapshot", "presentation", "character", "world", "template",
    "asset", "provenance", "ledger", "budget", "policy", "export", "timeline", "variables", "job", "disclosure",
    "provider", "preset", "engine", "model",
)
"""Pages whose examples begin with an empty studio, in an order in which each finds what it needs."""

ON_THE_SAMPLE = ("registry", "telemetry", "history")

# What was written a moment ago may not be counted yet: a reader asks again.
CURL = """
curl() {
  for _ in $(seq 300); do
    code=$(command curl -sS -o answer -w '%{http_code}' "$@")
    [ "$code" = 404 ] || break
    sleep 0.1
  done
  echo "$code $(wc -c < answer)" >&3
}
"""


def example(page: str) -> str:
    """The block of a page that asks something."""
    text = (PAGES / f"{page}.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S) + re.findall(r"## Try it\n(.*)\Z", text, re.S)
    (found,) = [block for block in blocks if "curl" in block]
    return str(found)


def tried(page: str, url: str, folder: Path) -> list[str]:
    """The status of every answer to a page's example; raises when one of them is empty."""
    lines = re.sub(r"(http://)?(127\.0\.0\.1|localhost):8001", url, example(page)).splitlines()
    script = "\n".join([CURL, "exec 3>&1 1>/dev/null", *(line for line in lines if not line.startswith("With "))])
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{page}: {done.stdout}{done.stderr}"
    answers = [line.split() for line in done.stdout.splitlines()]
    assert all(int(size) for _, size in answers), page
    return [code for code, _ in answers]


@pytest.fixture(autouse=True)
def _with_curl() -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl and bash are not installed here")


def test_every_page_with_an_example_is_tried() -> None:
    shown = {path.stem for path in PAGES.glob("*.md") if "curl" in path.read_text()}
    assert shown == {*OWN, *ON_THE_SAMPLE}


def test_the_examples_of_an_empty_studio(server: RunningServer, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (9, 99, 50)).save(tmp_path / "room.png")
    for page in OWN:
        codes = tried(page, server.url, tmp_path)
        assert len(codes) == example(page).count("curl "), page
        refused = ["423"] * example(page).count("# 423")
        assert [code for code in codes if not code.startswith("2")] == refused, f"{page}: {codes}"


def test_the_examples_on_the_sample(server_factory: Callable[..., RunningServer], tmp_path: Path) -> None:
    made = comfyvn("demo", "--once", "--json", data=tmp_path / "studio")
    assert made.returncode == 0, made.stdout + made.stderr
    server = server_factory(data=tmp_path / "studio")
    for page in ON_THE_SAMPLE:
        codes = tried(page, server.url, tmp_path)
        assert codes == ["200"] * example(page).count("curl "), page
