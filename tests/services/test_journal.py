"""What a running studio says: structured lines on standard error, never with a secret in them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SAY = """
import logging, structlog
from services import journal
journal.configure({level!r}, {style!r})
{say}
"""


def said(say: str, level: str = "info", style: str = "json") -> str:
    code = SAY.format(level=level, style=style, say=say)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "", "standard output belongs to results"
    return done.stderr


def test_a_line_is_one_json_object_with_time_level_and_source() -> None:
    line = json.loads(said("structlog.get_logger('door').info('opened', port=8001)"))
    assert (line["event"], line["level"], line["logger"], line["port"]) == ("opened", "info", "door", 8001)
    assert line["timestamp"].endswith("Z")


def test_lines_of_libraries_take_the_same_form() -> None:
    line = json.loads(said("logging.getLogger('elsewhere').warning('it %s', 'happened')"))
    assert (line["event"], line["level"], line["logger"]) == ("it happened", "warning", "elsewhere")


def test_what_is_below_the_level_is_not_said() -> None:
    assert said("structlog.get_logger('door').info('opened')", level="warning") == ""


def test_a_stack_trace_stays_inside_its_line() -> None:
    line = json.loads(said("try: 1/0\nexcept ZeroDivisionError: structlog.get_logger('door').exception('broken')"))
    assert "ZeroDivisionError" in line["exception"]


@pytest.mark.parametrize("style", ["json", "pretty"])
@pytest.mark.parametrize(
    "say",
    [
        "structlog.get_logger('x').info('in', token='s3cr3t')",
        "structlog.get_logger('x').info('in', database_password='s3cr3t')",
        "structlog.get_logger('x').info('in', headers='-', Authorization='Bearer s3cr3t')",
        "structlog.get_logger('x').info('at', url='nats://s3cr3t@127.0.0.1:4222')",
        "structlog.get_logger('x').info('at', servers=['nats://s3cr3t@a', {'token': 's3cr3t'}])",
        "structlog.get_logger('x').info('at postgresql://u:s3cr3t@db/x')",
        "logging.getLogger('lib').info('connecting to nats://s3cr3t@127.0.0.1:4222')",
        "try: raise OSError('nats://s3cr3t@host')\nexcept OSError: structlog.get_logger('x').exception('broken')",
    ],
)
def test_secrets_are_masked(say: str, style: str) -> None:
    line = said(say, style=style)
    assert line
    assert "s3cr3t" not in line
