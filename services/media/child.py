"""The rendering process: reads one request a line, answers with a length, a JSON head and the bytes of the pieces.

Ends when its input does, so it never outlives the process that started it.
"""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from services.media import images, sound
from services.media.rendering import SECONDS, Made, Unrenderable

try:
    import resource
except ImportError:  # not everywhere
    resource = None  # type: ignore[assignment]


def preview(path: str, media_type: str) -> Made:
    """The preview of a file by its detected type. Raises ``Unrenderable``."""
    if media_type == "image/svg+xml":
        raise Unrenderable("no_decoder", "Drawings (SVG) are shown as they are; no pictures are made of them.")
    if media_type.startswith("image/"):
        return images.render(path)
    if media_type == "audio/wav":
        return sound.render(path)
    raise Unrenderable("no_decoder", f"No decoder here reads {media_type}.")


def answer(request: dict[str, Any], out: IO[bytes]) -> None:
    """Renders one file and writes what came of it."""
    told: dict[str, Any]
    pieces: tuple[bytes, ...] = ()
    try:
        made = preview(request["path"], request["media_type"])
        told = {"recipe": made.recipe, "measures": made.measures,
                "pieces": [[*piece[:-1], len(piece.data)] for piece in made.pieces]}
        pieces = tuple(piece.data for piece in made.pieces)
    except Unrenderable as error:
        told = {"reason": error.reason, "message": error.message}
    except MemoryError:
        told = {"reason": "too_large", "message": "Rendering this file needs more memory than is allowed."}
    except Exception as error:  # a decoder's own mistake is news about the file, not the end of the process
        told = {"reason": "damaged", "message": f"The file cannot be decoded ({type(error).__name__})."}
    head = json.dumps(told).encode()
    out.write(len(head).to_bytes(4, "big") + head + b"".join(pieces))
    out.flush()


def limit(memory: int) -> None:
    """Lets this process have so many bytes of address space, where the system knows such a limit."""
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """Lets the next file have so many seconds of the processor: whoever would end this process may be gone before it.

    The process ends by the system's signal, which reads as any other end of it.
    """
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, most))


def main() -> None:
    limit(int(sys.argv[1]))
    for line in sys.stdin.buffer:
        limit_time(int(SECONDS))
        answer(json.loads(line), sys.stdout.buffer)


if __name__ == "__main__":
    main()
