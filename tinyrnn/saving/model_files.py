"""Model files: opened, checked, written whole.

A ``.keras`` file is a zip archive of ``config.json`` (`tinyrnn.saving.configs`), ``model.weights.h5``
(`tinyrnn.saving.weights`) and ``metadata.json``. Keras 2 wrote a single HDF5 file, ``.h5``; it is read
(`tinyrnn.saving.legacy_h5`), not written.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinyrnn.files import write_whole
from tinyrnn.saving import hdf5, legacy_h5, weights
from tinyrnn.saving.configs import describe, revive
from tinyrnn.version import __version__

__all__ = ["ModelFileError", "load_model", "load_weights", "reading", "save_model", "save_weights"]

LAYOUT = "3.0.0"  # the version of Keras from which on a file can be read
CONFIG, METADATA, NUMBERS = "config.json", "metadata.json", "model.weights.h5"

# A member may be compressed, and small files can claim to unpack to anything. All members together may
# take so many bytes or so many times the size of the file; words take far more memory than numbers.
ALWAYS, TIMES = 16 * 2**20, 2
MOST_WORDS = 2 * 2**20


class ModelFileError(ValueError):
    """A file that is damaged, is no model file, or does not fit; the message says what was wrong."""


@contextmanager
def reading(what: str | os.PathLike) -> Iterator[None]:
    """Let whatever a strange file provokes come out as one kind of error.

    There are as many kinds as there are ways to be wrong: a missing key, a number for a string, a shape that
    does not fit, a graph that leads back to itself.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        if reason.startswith("unknown "):
            reason += " (classes and functions of your own are given in custom_objects)"
        raise ModelFileError(f"{os.fspath(what)}: {reason}") from error


# --- archives ---------------------------------------------------------------------------------------------


def _read_archive(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive that a model is made of."""
    size = len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: _member(archive, name) for name in (CONFIG, METADATA, NUMBERS)}
        claimed = sum(member.file_size for member in members.values() if member is not None)
        if claimed > max(ALWAYS, TIMES * size):
            raise ValueError(f"a file of {size:,} bytes that claims to hold {claimed:,}")
        if members[CONFIG] is not None and members[CONFIG].file_size > MOST_WORDS:
            raise ValueError(
                f"{CONFIG} has {members[CONFIG].file_size:,} bytes; {MOST_WORDS:,} are read at most"
            )
        return {name: _unpacked(archive, member) for name, member in members.items() if member is not None}


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return as many bytes of a member as it says it has, however many more it would unpack to."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in a way that is not read")
    with archive.open(member) as file:
        return file.read(member.file_size)  # given no number, zipfile unpacks up to 2 GB at once


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) > 1:
        raise ValueError(f"{name} is in the archive {len(found)} times")
    return found[0] if found else None


def _part(members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise ValueError(f"no model: the archive has no {name}")
    return members[name]


def _write_archive(path: str | os.PathLike, members: Mapping[str, bytes]) -> None:
    def write(file):
        with zipfile.ZipFile(file, "w") as archive:  # not compressed: weights hardly are
            for name, content in members.items():
                archive.writestr(name, content)

    write_whole(path, write)


# --- models -----------------------------------------------------------------------------------------------


def save_model(
    model: Any, filepath: str | os.PathLike, overwrite: bool = True, zipped: bool | None = None
) -> None:
    """Write a model, its weights and its training so far to a ``.keras`` file; see `Model.save`."""
    path = Path(filepath)
    if path.suffix != ".keras":
        hint = "; Keras 2's format is read, not written" if path.suffix in (".h5", ".hdf5") else ""
        raise ValueError(f"{model.name}.save: expected a name that ends in .keras, found {path.name!r}{hint}")
    if zipped is False:
        raise ValueError(f"{model.name}.save: a .keras file is an archive; zipped=False is not supported")
    _check(model, "save")
    _may_write(path, overwrite)
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = {"keras_version": LAYOUT, "date_saved": now, "tinyrnn_version": __version__}
    members = {
        METADATA: json.dumps(metadata).encode(),
        CONFIG: json.dumps(describe(model)).encode(),
        NUMBERS: weights.to_bytes(model),
    }
    _write_archive(path, members)


def load_model(
    filepath: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Make the model that a file holds: ``.keras`` of tinyrnn, Keras 3 or Keras 2, or ``.h5``.

    Nothing in a file is run, whoever it is from: there is no pickle in it, a Lambda's code is refused,
    classes are looked up among those of tinyrnn and yours. (What you give in `custom_objects` a file may
    call, with arguments that it chooses.) No more memory is taken than 500 MB, or twenty times the size of
    the file if that is more.

    Parameters
    ----------
    filepath : str or path
    custom_objects : dict of str to class or function, optional
        Layers, losses, activations and so on of your own, by the names they have in the file. (A class of
        layers that has been defined is known by its name.)
    compile : bool
        Compile the model as it was, with the optimizer's state: training goes on as if it had not stopped.
    safe_mode : bool
        Accepted; there is no other mode.

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        If the file is damaged or no model file, or has a layer or a setting that tinyrnn does not.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> model = tinyrnn.load_model("model.keras")
    """
    if not isinstance(custom_objects, Mapping | None):
        raise TypeError(f"load_model: custom_objects: expected a dictionary, found {custom_objects!r}")
    data = Path(filepath).read_bytes()
    with reading(filepath):
        if _is_archive(data):
            return _from_archive(_read_archive(data), custom_objects, compile)
        return legacy_h5.load_model(hdf5.read(data), custom_objects, compile)


def _is_archive(data: bytes) -> bool:
    """Whether this is a zip archive and not HDF5; ValueError if it is neither."""
    if data.startswith(hdf5.SIGNATURE):
        return False
    if data.startswith(b"PK"):
        return True
    found = f"it begins with {data[:8]!r}" if data else "it is empty"
    raise ValueError(f"no model file, which is a zip archive (.keras) or HDF5 (.h5): {found}")


def _from_archive(members: dict[str, bytes], custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    metadata = json.loads(members.get(METADATA, b"{}"))
    config, file = json.loads(_part(members, CONFIG)), hdf5.read(_part(members, NUMBERS))
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    # Twice the bytes: numbers of 16 bits become weights of 32.
    model = revive(config, custom_objects, 2 * file.count_bytes(), version or LAYOUT, compile)
    if not model.built:
        raise ValueError(f"{model.name}: the file does not say for what inputs it was built")
    weights.load(model, file)
    return model


# --- weights ----------------------------------------------------------------------------------------------


def save_weights(
    model: Any, filepath: str | os.PathLike, overwrite: bool = True, progress: Any = None
) -> None:
    """Write weights and the optimizer's state to a ``.weights.h5`` file; see `Model.save_weights`."""
    path = Path(filepath)
    if not path.name.endswith(".weights.h5"):
        raise ValueError(
            f"{model.name}.save_weights: expected a name that ends in .weights.h5, found {path.name!r}"
        )
    _check(model, "save_weights")
    _may_write(path, overwrite)
    write_whole(path, weights.to_bytes(model, progress))


def load_weights(
    model: Any, filepath: str | os.PathLike, skip_mismatch: bool = False, by_name: bool = False
) -> Any:
    """Read weights into a model, from any of the files that `load_model` reads or `save_weights` wrote.

    Returns the `progress` that was saved with them, None if there is none; see `Model.load_weights`.
    """
    _check(model, "load_weights")
    data = Path(filepath).read_bytes()
    with reading(filepath):
        file = hdf5.read(_part(_read_archive(data), NUMBERS) if _is_archive(data) else data)
        file.count_bytes()  # or it is refused
        old = legacy_h5.weights_in(file)
        if old is not None:
            legacy_h5.load_weights(model, old, skip_mismatch, by_name)
            return None
        if by_name:
            raise ValueError("by_name=True is for the .h5 files of Keras 2; these go by the place of layers")
        return weights.load(model, file, skip_mismatch)


# --- helpers ----------------------------------------------------------------------------------------------


def _check(model: Any, method: str) -> None:
    if not model.built:
        raise ValueError(f"{model.name}.{method}: not built yet; call it on data, or build(input_shape)")


def _may_write(path: Path, overwrite: bool) -> None:
    if not overwrite and path.exists():
        raise FileExistsError(f"{path} exists; give overwrite=True to replace it")
