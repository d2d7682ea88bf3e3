"""What stands in Python files, parsed once for all tests that look at it.

What it is: the tree of a source, and all nodes of it.

What it may know: nothing of what is looked for.

Invariant: nobody changes a tree.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cometd_chat

#: What is installed.
PACKAGE = Path(cometd_chat.__file__).parent


@cache
def tree_of(source: bytes) -> ast.Module:
    """A source, by what stands in it."""
    return ast.parse(source)


@cache
def nodes_of(source: bytes) -> Sequence[ast.AST]:
    """All that its tree is made of."""
    return tuple(ast.walk(tree_of(source)))
