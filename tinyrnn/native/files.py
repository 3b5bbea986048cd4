"""Generated modules and compiled code in a per-user cache folder, which may fail in any way.

A generated module is a real file: tracebacks show its lines, and whoever wants to can read the kernel that
was derived from three equations. A folder that is missing, read-only, damaged or shared by processes
starting at once costs time, and nothing else.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import os
import sys
from pathlib import Path
from types import ModuleType

from tinyrnn.files import write_whole

__all__ = ["cache_folder", "load", "read_checked", "write_checked"]


def cache_folder() -> Path:
    """Return the folder of generated modules, ``$TINYRNN_CACHE`` or in the user's cache."""
    given = os.environ.get("TINYRNN_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("tinyrnn", appauthor=False)) / "kernels"


@functools.cache
def load(source: str, name: str) -> ModuleType:
    """Run `source` as a module, once for all cells that have it, and keep it as a file if that is possible.

    Only the text given is run, never what the file holds.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    stem = f"{name.lower()}_{digest}"
    path = cache_folder() / f"{stem}.py"
    file = str(path)
    if not _holds(path, source.encode()) and not _write(path, source.encode()):
        file = f"<{stem}>"  # no place to write: keep the lines for tracebacks in memory
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    module = ModuleType(f"tinyrnn.generated.{stem}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # compiled code that is read from disk looks for it there
    exec(compile(source, file, "exec"), vars(module))
    return module


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _write(path: Path, data: bytes) -> bool:
    """Put `data` at `path`, whole or not at all; return whether that was possible."""
    try:
        write_whole(path, data, durable=False)
    except OSError:
        return False
    return True


def write_checked(path: Path, data: bytes) -> None:
    """Write a file for `read_checked`, if that is possible."""
    _write(path, hashlib.sha256(data).digest() + data)


def read_checked(path: Path) -> bytes | None:
    """Return what `write_checked` wrote; None if the file is missing, damaged or another user's."""
    try:
        with path.open("rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            digest, data = file.read(32), file.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None
