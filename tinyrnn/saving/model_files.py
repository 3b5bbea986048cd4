"""Model files: opened, checked, written whole.

A ``.keras`` file is a zip archive of ``config.json`` (`tinyrnn.saving.configs`), ``model.weights.h5``
(`tinyrnn.saving.weights`) and ``metadata.json``. Keras 2 wrote a single HDF5 file, ``.h5``; it is read
(`tinyrnn.saving.legacy_h5`), not written.
"""

from __future__ import annotations

import datetime
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
# take so many bytes and so many times the size of the file.
ALWAYS, TIMES = 64 * 2**20, 16


class ModelFileError(ValueError):
    """A file that is damaged, is no model file, or does not fit; the message says what was wrong."""


@contextmanager
def reading(what: str | os.PathLike) -> Iterator[None]:
    """Let whatever a strange file provokes come out as one kind of error.

    There are as many kinds as there are ways to be wrong: a missing key, a number for a string, a shape that
    does not fit, a graph that leads back to itself. What is no fault of the file comes out as it is.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, ImportError):
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        if reason.startswith("unknown "):
            reason += " (classes and functions of your own are given in custom_objects)"
        raise ModelFileError(f"{os.fspath(what)}: {reason}") from error


# --- archives ---------------------------------------------------------------------------------------------


def _read_archive(path: str | os.PathLike) -> dict[str, bytes]:
    """Return the members of an archive that a model is made of."""
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: _member(archive, name) for name in (CONFIG, METADATA, NUMBERS)}
        claimed = sum(member.file_size for member in members.values() if member is not None)
        if claimed > max(ALWAYS, TIMES * size):
            raise ValueError(f"a file of {size:,} bytes that claims to hold {claimed:,}")
        return {name: archive.read(member) for name, member in members.items() if member is not None}


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) > 1:
        raise ValueError(f"{name} is in the archive {len(found)} times")
    return found[0] if found else None


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
    classes are looked up among those of tinyrnn and yours. No more memory is taken than four times the size
    of the file and 64 MB.

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
    with reading(filepath):
        if zipfile.is_zipfile(filepath):
            return _from_archive(_read_archive(filepath), custom_objects, compile)
        return legacy_h5.load_model(hdf5.read(Path(filepath).read_bytes()), custom_objects, compile)


def _from_archive(members: dict[str, bytes], custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    for name in (CONFIG, NUMBERS):
        if name not in members:
            raise ValueError(f"no model: the archive has no {name}")
    metadata = json.loads(members.get(METADATA, b"{}"))
    file = hdf5.read(members[NUMBERS])
    version = metadata.get("keras_version", LAYOUT)
    model = revive(json.loads(members[CONFIG]), custom_objects, file.count_values(), version, compile)
    _ready_for_weights(model)
    weights.load(model, file)
    return model


def _ready_for_weights(model: Any) -> None:
    """Make the optimizer's slots, for the file's numbers."""
    if not model.built:
        raise ValueError(f"{model.name}: the file does not say for what inputs it was built")
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_weights)


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
    with reading(filepath):
        if zipfile.is_zipfile(filepath):
            file = hdf5.read(_read_archive(filepath)[NUMBERS])
        else:
            file = hdf5.read(Path(filepath).read_bytes())
        old = legacy_h5.weights_in(file)
        if old is not None:
            legacy_h5.load_weights(model, old, skip_mismatch, by_name)
            return None
        if by_name:
            raise ValueError("by_name=True is for the .h5 files of Keras 2; these go by the place of layers")
        if model.optimizer is not None and "optimizer" in file:
            model.optimizer.build(model.trainable_weights)
        weights.load(model, file, skip_mismatch)
        return weights.progress_in(file)


# --- helpers ----------------------------------------------------------------------------------------------


def _check(model: Any, method: str) -> None:
    if not model.built:
        raise ValueError(f"{model.name}.{method}: not built yet; call it on data, or build(input_shape)")


def _may_write(path: Path, overwrite: bool) -> None:
    if not overwrite and path.exists():
        raise FileExistsError(f"{path} exists; give overwrite=True to replace it")
