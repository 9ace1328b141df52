"""Lets Ren'Py 8.0.3 start on Python 3.11: gives the syntax trees that it compiles the end positions they lack.

Python finds this file by its name on ``PYTHONPATH``. Ren'Py moves line numbers of nodes without moving where the nodes
end; Python 3.11 refuses such trees ("AST node line range is not valid"). The engine itself is left as it is.
"""

from __future__ import annotations

import ast
import builtins
from typing import Any

_compile = builtins.compile


def _with_ends(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", None)
        if line is None:
            continue
        column = max(getattr(node, "col_offset", None) or 0, 0)
        node.col_offset = column
        end = getattr(node, "end_lineno", None)
        if end is None or end < line:
            node.end_lineno = end = line
        end_column = getattr(node, "end_col_offset", None)
        if end_column is None or end_column < 0 or (end == line and end_column < column):
            node.end_col_offset = column
    return tree


def compile_(source: Any, *arguments: Any, **named: Any) -> Any:
    """``compile`` for syntax trees whose nodes may end before they begin."""
    return _compile(_with_ends(source) if isinstance(source, ast.AST) else source, *arguments, **named)


builtins.compile = compile_  # type: ignore[assignment]
