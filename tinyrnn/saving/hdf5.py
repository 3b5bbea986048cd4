"""HDF5 files: written by h5py, read by a small reader that a damaged or hostile file cannot harm.

The reader knows the part of the format that h5py writes unless told otherwise, which is what model files are
made of: groups, attributes, arrays of numbers in one piece. Everything else (links to other files, filters,
arrays in chunks, types of one's own) is refused by name.

Why not h5py: its C library follows what a file says. Of 4,000 files with a few bytes changed, six kept it
in an endless loop that nothing but the end of the process stops (HDF5 2.0.0). Here every address is compared
with the end of the file, a file is gone through a limited number of times, and nothing is allocated that it
does not hold.

Source: "HDF5 File Format Specification Version 3.0", The HDF Group. Names in brackets are its.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

__all__ = ["Dataset", "Group", "HDF5Error", "read", "write"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = 2**64 - 1  # [undefined address]
THING = 200  # bytes that Python takes for a name, a header's message, an object of a heap
MOST_EMPTY = 2**16  # elements that an array could have if none of its lengths were 0

# Kinds of header messages, by number.
SPACE, LINKS, TYPE, LINK, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE = (
    0x01,
    0x02,
    0x03,
    0x06,
    0x07,
    0x08,
    0x0B,
    0x0C,
)
CONTINUATION, TABLE, ATTRIBUTES = 0x10, 0x11, 0x15
KINDS = (SPACE, LINKS, TYPE, LINK, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, TABLE, ATTRIBUTES)


class HDF5Error(ValueError):
    """A file that is damaged, or uses a part of HDF5 that model files do not."""


# --- writing ----------------------------------------------------------------------------------------------


def write(
    datasets: Mapping[str, np.ndarray],
    groups: Iterable[str] = (),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> bytes:
    """Return a file.

    Parameters
    ----------
    datasets : mapping of path to array
        The groups on the way to each are made.
    groups : iterable of str
        More groups, which may stay empty.
    attributes : mapping of path to mapping of name to value, optional
        Of groups; strings and numbers.
    """
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for path in groups:
            file.require_group(path)
        for path, values in datasets.items():
            file.create_dataset(path, data=values)
        for path, found in (attributes or {}).items():
            file.require_group(path).attrs.update(found)
    return memory.getvalue()


# --- bytes ------------------------------------------------------------------------------------------------


class _Piece:
    """Bytes, and numbers and smaller pieces at addresses in them, all of which may be wrong."""

    __slots__ = ("data",)

    def __init__(self, data: memoryview):
        self.data = data

    def piece(self, address: int, length: int) -> memoryview:
        if not 0 <= address <= address + length <= len(self.data):
            raise HDF5Error(f"{length} bytes at {address}: the file ends at {len(self.data)}")
        return self.data[address : address + length]

    def expect(self, address: int, signature: bytes) -> None:
        found = bytes(self.piece(address, len(signature)))
        if found != signature:
            raise HDF5Error(f"expected {signature!r} at {address}, found {found!r}")

    def unpack(self, form: str, address: int) -> tuple:
        """Return numbers, see `struct`; little-endian without gaps."""
        return struct.unpack("<" + form, self.piece(address, struct.calcsize("<" + form)))


class _File(_Piece):
    """The whole file. What is gone through, and what is kept of it, is counted against its size."""

    __slots__ = ("_collections", "_to_spend")

    def __init__(self, data: bytes):
        super().__init__(memoryview(data))
        self._collections: dict[int, dict[int, memoryview]] = {}  # [global heap], by address
        self._to_spend = 8 * len(data) + 2**16

    def spend(self, length: int, things: int = 0) -> None:
        """Take down that so many bytes are gone through, and so many things in them kept.

        A file whose parts are each other's parts, or are nothing but names and headers, is refused.
        """
        self._to_spend -= length + THING * things
        if self._to_spend < 0:
            raise HDF5Error("too many parts for its size, or parts that lie on top of each other")

    def in_collection(self, address: int, index: int) -> memoryview:
        """Return an object in a [global heap collection], where strings of any length lie."""
        if address not in self._collections:
            self.expect(address, b"GCOL")
            (size,) = self.unpack("Q", address + 8)
            self.piece(address, size)
            self.spend(size)
            objects: dict[int, memoryview] = {}
            at, end = address + 16, address + size
            while at + 16 <= end:
                number, _, _, length = self.unpack("HHIQ", at)
                if number == 0:  # the rest is free
                    break
                self.spend(0, things=1)
                objects[number] = self.piece(at + 16, length)
                at += 16 + -(-length // 8) * 8
            self._collections[address] = objects
        if index not in self._collections[address]:
            raise HDF5Error(f"no object {index} in the heap at {address}")
        return self._collections[address][index]


# --- object headers ---------------------------------------------------------------------------------------


def _messages(file: _File, address: int) -> list[tuple[int, _Piece]]:
    """Return the messages of an [object header] that mean something here, each with its kind."""
    found: list[tuple[int, _Piece]] = []
    new = bytes(file.piece(address, 4)) == b"OHDR"
    chunks, form = _first_chunk_new(file, address) if new else _first_chunk_old(file, address)
    seen = set()
    for at, length in chunks:  # grows as continuations are found
        if at in seen:
            raise HDF5Error(f"the header at {address} continues in itself")
        seen.add(at)
        end = at + length
        file.piece(at, length)
        file.spend(length)
        head = struct.calcsize("<" + form)
        while at + head <= end:
            kind, size, flags = file.unpack(form, at)[:3]
            at += head
            if at + size > end:
                raise HDF5Error(f"a message at {at} is longer than its header")
            body = _Piece(file.piece(at, size))
            at += size
            if kind == CONTINUATION:
                where, length = body.unpack("QQ", 0)
                if new:
                    file.expect(where, b"OCHK")
                    where, length = where + 4, length - 8
                file.spend(0, things=1)
                chunks.append((where, max(length, 0)))
            elif flags & 2 and kind in (SPACE, TYPE, LAYOUT, ATTRIBUTE):
                raise HDF5Error("types and messages shared between objects are not read")
            elif kind in KINDS:
                file.spend(0, things=1)
                found.append((kind, body))
    return found


def _first_chunk_old(file: _File, address: int) -> tuple[list[tuple[int, int]], str]:
    version, _, _, _, size = file.unpack("BBHII", address)
    if version != 1:
        raise HDF5Error(f"no object at {address}")
    return [(address + 16, size)], "HHB3x"


def _first_chunk_new(file: _File, address: int) -> tuple[list[tuple[int, int]], str]:
    version, flags = file.unpack("BB", address + 4)
    if version != 2:
        raise HDF5Error(f"an object header of version {version}")
    at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(file.piece(at, width), "little")
    return [(at + width, size)], "BHB2x" if flags & 4 else "BHB"


# --- types, shapes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Type:
    """Type of the elements of an array: numbers (`dtype`), or strings, of a fixed length or not."""

    size: int  # bytes that an element takes
    dtype: np.dtype | None = None
    strings: str = ""  # "fixed" or "variable"
    is_bool: bool = False
    is_bfloat16: bool = False


def _type(body: _Piece) -> _Type:
    """Read a [datatype]."""
    version_and_kind, *bits, size = body.unpack("BBBBI", 0)
    kind = version_and_kind & 15
    order = ">" if bits[0] & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        return _Type(size, np.dtype(f"{order}{'i' if bits[0] & 8 else 'u'}{size}"))
    if kind == 1 and size in (2, 4, 8):
        exponent = body.unpack("B", 13)[0]
        if size == 2 and exponent == 8:
            return _Type(2, np.dtype(f"{order}u2"), is_bfloat16=True)
        if exponent == {2: 5, 4: 8, 8: 11}[size]:
            return _Type(size, np.dtype(f"{order}f{size}"))
    if kind == 3 and size:
        return _Type(size, strings="fixed")
    if kind == 5 and size == 2:  # how h5py keeps bfloat16 where HDF5 does not know it
        return _Type(2, np.dtype("<u2"), is_bfloat16=True)
    if kind == 8 and size == 1:  # [enumerated]: how h5py keeps truth values
        return _Type(1, np.dtype("u1"), is_bool=True)
    if kind == 9 and bits[0] & 15 == 1 and size == 16:
        return _Type(16, strings="variable")
    raise HDF5Error(f"a type of kind {kind} with {size} bytes is not read")


def _shape(body: _Piece) -> tuple[int, ...]:
    """Read a [dataspace]."""
    version, rank, _, kind = body.unpack("BBBB", 0)
    if version not in (1, 2) or rank > 32 or (version == 2 and kind == 2):
        raise HDF5Error("an array without a shape")
    return body.unpack(f"{rank}Q", 8 if version == 1 else 4)


def _values(file: _File, kind: _Type, shape: tuple[int, ...], raw: memoryview) -> Any:
    """Return an array of numbers, in the byte order of this machine, or a (nested) list of strings."""
    if kind.strings:
        flat = [_string(file, kind, raw[i : i + kind.size]) for i in range(0, len(raw), kind.size)]
        return flat[0] if shape == () else np.array(flat, object).reshape(shape).tolist()
    values = np.ndarray(shape, kind.dtype, raw)
    if kind.is_bfloat16:  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(bool if kind.is_bool else kind.dtype.newbyteorder("="))


def _string(file: _File, kind: _Type, raw: memoryview) -> str:
    if kind.strings == "variable":
        length, address, index = struct.unpack("<IQI", raw)
        raw = memoryview(b"") if not length else file.in_collection(address, index)[:length]
        file.spend(4 * length)  # a character may take so many bytes in Python
    try:
        return bytes(raw).rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise HDF5Error(f"a string that is not UTF-8: {error}") from error


def _checked_size(kind: _Type, shape: tuple[int, ...], available: int) -> int:
    size = prod(shape) * kind.size
    if size > available or (0 in shape and prod(n for n in shape if n) > MOST_EMPTY):
        raise HDF5Error(f"an array of shape {shape} would take {size} bytes, {available} are there")
    return size


def _attribute(file: _File, body: _Piece) -> tuple[str, Any]:
    version, flags, *sizes = body.unpack("BBHHH", 0)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise HDF5Error("an attribute of an unknown form")
    at, pieces = 8 if version < 3 else 9, []
    for size in sizes:
        pieces.append(body.piece(at, size))
        at += -(-size // 8) * 8 if version == 1 else size
    name = bytes(pieces[0]).rstrip(b"\0").decode("utf-8", "replace")
    kind, shape = _type(_Piece(pieces[1])), _shape(_Piece(pieces[2]))
    rest = len(body.data) - at
    return name, _values(file, kind, shape, body.piece(at, _checked_size(kind, shape, max(rest, 0))))


# --- groups and datasets ----------------------------------------------------------------------------------


class _Object:
    """What groups and datasets have: attributes, among the messages of their header."""

    def __init__(self, file: _File, messages: list[tuple[int, _Piece]]):
        self._file, self._found = file, messages

    def _one(self, kind: int) -> _Piece | None:
        return next((body for k, body in self._found if k == kind), None)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes: strings, arrays, lists of strings."""
        table = self._one(ATTRIBUTES)
        if table is not None and table.unpack("Q", 2 + 2 * (table.unpack("B", 1)[0] & 1))[0] != NOWHERE:
            raise HDF5Error(
                "attributes in a heap of their own are not read; h5py's default does not make them"
            )
        return dict(_attribute(self._file, body) for kind, body in self._found if kind == ATTRIBUTE)


class Dataset(_Object):
    """An array in one piece; only its place is known until it is read.

    Attributes
    ----------
    shape : tuple of int
    nbytes : int
        In the file.
    attributes : dict
    """

    def __init__(self, file: _File, messages: list[tuple[int, _Piece]]):
        super().__init__(file, messages)
        for kind, what in ((EXTERNAL, "kept in another file"), (FILTERS, "compressed")):
            if self._one(kind) is not None:
                raise HDF5Error(f"an array {what} is not read")
        kind, space, layout = (self._one(k) for k in (TYPE, SPACE, LAYOUT))
        if kind is None or space is None or layout is None:
            raise HDF5Error("an array without a type, a shape or a place")
        self._kind, self.shape = _type(kind), _shape(space)
        self._raw = self._place(layout)
        self.nbytes = _checked_size(self._kind, self.shape, len(self._raw))

    def _place(self, layout: _Piece) -> memoryview:
        version, where = layout.unpack("BB", 0)
        if version not in (3, 4) or where not in (0, 1):
            raise HDF5Error("an array that is not in one piece is not read")
        if where == 0:  # [compact]: within the header
            return layout.piece(4, layout.unpack("H", 2)[0])
        address, size = layout.unpack("QQ", 2)
        return self._file.piece(address, size) if size else memoryview(b"")

    @property
    def holds_numbers(self) -> bool:
        """Whether these are numbers and not strings."""
        return not self._kind.strings

    def read(self) -> Any:
        """Return the numbers, a new array in this machine's byte order, or a list of strings."""
        return _values(self._file, self._kind, self.shape, self._raw[: self.nbytes])


class Group(_Object):
    """Names for groups and datasets, which paths with slashes reach: ``group["vars/0"]``."""

    def __init__(self, file: _File, messages: list[tuple[int, _Piece]]):
        super().__init__(file, messages)
        self._opened: dict[str, Group | Dataset] = {}

    @cached_property
    def _addresses(self) -> dict[str, int]:
        table, links = self._one(TABLE), self._one(LINKS)
        if table is not None:
            return dict(_in_table(self._file, *table.unpack("QQ", 0)))
        if links is not None and links.unpack("Q", 2 + 8 * (links.unpack("B", 1)[0] & 1))[0] != NOWHERE:
            raise HDF5Error("a group with its names in a heap is not read; h5py's default does not make them")
        return dict(_link(body) for kind, body in self._found if kind == LINK)

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)

    def get(self, path: str) -> Group | Dataset | None:
        """Return what is at a path, None if there is nothing."""
        name, _, rest = path.partition("/")
        if name not in self._addresses:
            return None
        if name not in self._opened:
            self._opened[name] = _open(self._file, self._addresses[name])
        found = self._opened[name]
        return found if not rest else found.get(rest) if isinstance(found, Group) else None

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def __getitem__(self, path: str) -> Group | Dataset:
        found = self.get(path)
        if found is None:
            raise HDF5Error(f"the file has no {path!r}")
        return found

    def count_bytes(self) -> int:
        """Return how many bytes all datasets below take together.

        Raises
        ------
        HDF5Error
            If that is more than the file has (some lie on top of each other), or something is in it twice.
        """
        nbytes = 0
        todo, seen = [self], set()
        while todo:
            group = todo.pop()
            for name, address in group._addresses.items():
                if address in seen:
                    raise HDF5Error(f"{name!r} is in the file more than once")
                seen.add(address)
                found = group[name]
                if isinstance(found, Group):
                    todo.append(found)
                else:
                    nbytes += found.nbytes
        if nbytes > len(self._file.data):
            raise HDF5Error(f"arrays of {nbytes} bytes in a file of {len(self._file.data)}")
        return nbytes


def _open(file: _File, address: int) -> Group | Dataset:
    messages = _messages(file, address)
    is_dataset = any(kind in (SPACE, LAYOUT) for kind, _ in messages)
    return (Dataset if is_dataset else Group)(file, messages)


def _in_table(file: _File, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    """Yield names and addresses from a [symbol table]: a tree of nodes, and a heap with the names."""
    file.expect(heap, b"HEAP")
    size, _, address = file.unpack("QQQ", heap + 8)
    names = file.piece(address, size)
    todo, seen = [tree], set()
    while todo:
        node = todo.pop()
        if node in seen:
            raise HDF5Error(f"a tree that leads back to {node}")
        seen.add(node)
        if bytes(file.piece(node, 4)) == b"SNOD":
            (count,) = file.unpack("H", node + 6)
            file.spend(40 * count, things=count)
            for at in range(node + 8, node + 8 + 40 * count, 40):
                name, where, link = file.unpack("QQI", at)
                if link == 2:
                    raise HDF5Error("links to a path are not followed")
                yield _name(names, name), where
            continue
        file.expect(node, b"TREE")
        kind, _, count = file.unpack("BBH", node + 4)
        if kind != 0:
            raise HDF5Error("a tree of something else than names")
        file.spend(48 * count)
        todo += [file.unpack("Q", node + 32 + 16 * i)[0] for i in reversed(range(count))]


def _name(names: memoryview, at: int) -> str:
    raw = bytes(names[at : at + 1024]).partition(b"\0")[0]
    return raw.decode("utf-8", "replace")


def _link(body: _Piece) -> tuple[str, int]:
    """Read a [link message]."""
    version, flags = body.unpack("BB", 0)
    at, kind = 2, 0
    if flags & 8:
        kind, at = body.unpack("B", at)[0], at + 1
    if version != 1 or kind != 0:
        raise HDF5Error("links to a path or to another file are not followed")
    at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(body.piece(at, width), "little")
    name = bytes(body.piece(at + width, length)).decode("utf-8", "replace")
    return name, body.unpack("Q", at + width + length)[0]


def read(data: bytes) -> Group:
    """Return the root of a file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    HDF5Error
        If it is none, is damaged, or of a form that is not read; here or later, when a part is looked at.
    """
    file = _File(data)
    file.expect(0, SIGNATURE)
    (version,) = file.unpack("B", 8)
    if version in (0, 1):
        sizes, at = file.unpack("BB", 13), 24 + 4 * version
        base, root = file.unpack("Q", at)[0], file.unpack("Q", at + 40)[0]
    elif version in (2, 3):
        sizes = file.unpack("BB", 9)
        base, _, _, root = file.unpack("QQQQ", 12)
    else:
        raise HDF5Error(f"version {version} of the format is not read")
    if sizes != (8, 8) or base != 0:
        raise HDF5Error("addresses that are not of 8 bytes and from the beginning of the file are not read")
    found = _open(file, root)
    if not isinstance(found, Group):
        raise HDF5Error("the file does not begin with a group")
    return found
