"""The process that reads manifests out of files of others: one request a line, answered by a length and JSON.

c2pa-rs is native code with many decoders: what a hostile file makes of it ends this process, and nobody else's work.
Ends when its input does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import IO, Any, Final

try:
    import resource
except ImportError:  # not everywhere
    resource = None  # type: ignore[assignment]

SETTINGS: Final[Mapping[str, Any]] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
}
"""Nothing is fetched from anywhere, and no thumbnail is made."""


def read(path: str, kind: str, roots: str) -> dict[str, Any]:
    """``{"store": …}`` as c2pa-rs tells it, ``{}`` where there is none, or ``{"unreadable": why}``."""
    import c2pa

    settings = {**SETTINGS, **({"trust": {"user_anchors": roots}} if roots else {})}
    try:
        with c2pa.Context.from_dict(settings) as context, open(path, "rb") as file:
            reader = c2pa.Reader.try_create(kind, file, context=context)
            if reader is None:
                return {}
            with reader:
                return {"store": json.loads(reader.json())}
    except (c2pa.C2paError, ValueError, RecursionError, OSError) as error:
        return {"unreadable": " ".join(str(error).split())[:300]}
    except MemoryError:
        return {"unreadable": "reading it needs more memory than is allowed"}


def answer(request: Mapping[str, Any], out: IO[bytes]) -> None:
    """Reads one file and writes what came of it."""
    told = json.dumps(read(request["path"], request["kind"], request["roots"])).encode()
    out.write(len(told).to_bytes(8, "big") + told)
    out.flush()


def limit_time(seconds: int) -> None:
    """Lets the next file have so many seconds of the processor: whoever would end this process may be gone before."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, most))


def main() -> None:
    memory = int(sys.argv[1])
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        request = json.loads(line)
        limit_time(request["seconds"])
        answer(request, sys.stdout.buffer)


if __name__ == "__main__":
    main()
