"""Blobs in S3 buckets, on a server from a wheel that is installed into a folder of its own: `make test-s3`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path

import httpx

HOME = Path(".venv/s3")
BUCKET = "comfyvn"
SECONDS = 60.0
PACKAGE = "moto[server,s3]>=5"


def main() -> int:
    """Installs the server where it is not there yet, starts it, and runs the suite of the port against it."""
    program = HOME / "bin" / "moto_server"
    if not program.exists():
        print(f"Installing {PACKAGE} into {HOME}…", flush=True)
        venv.create(HOME, with_pip=True)
        pip = [HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, PACKAGE], check=False).returncode:
            print("Did not run: the S3 server cannot be installed here.")
            return 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    server = subprocess.Popen([program, "-p", address.rpartition(":")[2]], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        _bucket(address)
        known = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
                 "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "COMFYVN_TEST_BLOBS_URL": f"s3://{BUCKET}"}
        suite = [sys.executable, "-m", "pytest", "tests/ports/test_blobs.py", "-k", "bucket"]
        return subprocess.run(suite, env={**os.environ, **known}, check=False).returncode
    finally:
        server.terminate()
        server.wait(30)


def _bucket(address: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            httpx.put(f"{address}/{BUCKET}").raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
