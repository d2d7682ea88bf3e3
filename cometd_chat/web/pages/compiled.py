"""Templates that were compiled before: a process that starts need not do it again.

What it is: `CompiledTemplates`, the cache of Jinja2's environment. What comes of a template stays
beside it in ``__pycache__``, as what Python makes of a module does: named after the releases of
Python and of Jinja2, for the checksum of what it was made of.

What it may know: Jinja2's cache. Not what a template is for.

Invariant: without it everything works, only later. Who may not write there, or lost half of a file,
compiles.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from pickle import UnpicklingError

from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

#: What says, beside its text, what comes of a template.
OPTIONS = ("autoescape", "trim_blocks", "lstrip_blocks", "keep_trailing_newline")

JINJA = "jinja" + "".join(filter(str.isalnum, version("jinja2")))


class CompiledTemplates(BytecodeCache):
    """What is kept of the templates of an environment."""

    def get_bucket(
        self, environment: Environment, name: str, filename: str | None, source: str
    ) -> Bucket:
        options = {each: getattr(environment, each) for each in OPTIONS}
        return super().get_bucket(environment, name, filename, f"{options}\n{source}")

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Its file, an empty name for a template without one."""
        return "" if filename is None else cache_from_source(filename, optimization=JINJA)

    def get_source_checksum(self, source: str) -> str:
        return sha256(source.encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError, EOFError, UnpicklingError):
            bucket.bytecode_from_string(Path(bucket.key).read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        if sys.dont_write_bytecode or not bucket.key:
            return
        file = Path(bucket.key)
        # Others may be reading it, and writing it as well.
        part = file.with_name(f"{file.name}.{os.getpid()}")
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(bucket.bytecode_to_string())
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
