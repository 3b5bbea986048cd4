"""The reader of HDF5 against h5py; and files that are damaged or made to harm."""

import io
import random
import struct

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as stn

from tinyrnn.saving.hdf5 import Dataset, Group, HDF5Error, read, write


def file_of(fill, **options):
    """Return the bytes of a file that ``fill(file)`` has filled with h5py."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def look_at_everything(group):
    """Read all there is below a group."""
    group.count_bytes()
    todo = [group]
    while todo:
        found = todo.pop()
        found.attributes  # noqa: B018 - reading is what is tested
        if isinstance(found, Group):
            todo += [found[name] for name in found]
        else:
            found.read()


# --- as h5py ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"libver": "v110"}, {"libver": "v108"}])
@pytest.mark.parametrize(
    "dtype", ["f2", "<f4", ">f4", "f8", ">f8", "i1", "<i4", ">i4", "i8", "u1", "u2", ">u8", "?"]
)
def test_arrays_of_all_types(dtype, options):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    found = read(file_of(lambda file: file.create_dataset("a/b", data=values), **options))["a/b"]
    assert (found.shape, found.nbytes, found.holds_numbers) == ((2, 3), values.nbytes, True)
    np.testing.assert_array_equal(found.read(), values)
    assert found.read().dtype == values.dtype.newbyteorder("=")


@given(stn.arrays(np.float32, stn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_arrays_of_all_shapes(values):
    found = read(write({"x": values}))["x"].read()
    assert found.shape == values.shape
    np.testing.assert_array_equal(found, values)


def test_bfloat16():
    values = np.float32([1.5, -2, 3e38, 0]).astype(ml_dtypes.bfloat16)
    found = read(file_of(lambda file: file.create_dataset("x", data=values)))["x"].read()
    np.testing.assert_array_equal(found, values.astype("float32"))


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}])
def test_attributes(options):
    def fill(file):
        group = file.create_group("g")
        group.attrs["name"] = "Größe"
        group.attrs["bytes"] = np.bytes_(b"abc")
        group.attrs["list"] = np.array([b"ab", b"c"])
        group.attrs["strings"] = ["x", "", "yyy"]
        group.attrs["empty"] = np.zeros(0)
        group.attrs["number"] = 2.5

    found = read(file_of(fill, **options))["g"].attributes
    assert found.pop("empty").shape == (0,)
    assert found.pop("number") == 2.5
    strings = {"name": "Größe", "bytes": "abc", "list": ["ab", "c"], "strings": ["x", "", "yyy"]}
    assert found == strings


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 500])
def test_many_names(count):
    names = [f"layer_{i}" for i in range(count)]
    group = read(write({f"{name}/vars/0": np.zeros(2) for name in names}))
    assert sorted(group) == sorted(names)
    assert len(group) == count
    assert group.count_bytes() == 16 * count
    assert all(group[f"{name}/vars/0"].shape == (2,) for name in names)


def test_paths():
    group = read(write({"a/b": np.zeros(1)}, ["a/empty"], {"a/c": {"k": "v"}}))
    assert isinstance(group["a/b"], Dataset)
    assert isinstance(group["a/empty"], Group)
    assert group["a/c"].attributes == {"k": "v"}
    assert "a/b" in group
    for path in ("x", "a/x", "a/b/x"):
        assert path not in group
        with pytest.raises(HDF5Error, match=f"the file has no '{path}'"):
            group[path]


# --- refused by name --------------------------------------------------------------------------------------


def link_out(file):
    file["x"] = h5py.ExternalLink("/etc/passwd", "/")


def link_to_a_path(file):
    file["x"] = h5py.SoftLink("/somewhere")


def kept_elsewhere(file):
    file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)])


def assembled_elsewhere(file):
    layout = h5py.VirtualLayout((8,), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "y", (8,))
    file.create_virtual_dataset("x", layout)


def compressed(file):
    file.create_dataset("x", data=np.zeros(9), compression="gzip")


def in_chunks(file):
    file.create_dataset("x", data=np.zeros(9), chunks=(3,))


def never_written(file):
    file.create_dataset("x", (10**9,), "f8")


def of_a_named_type(file):
    file["type"] = np.dtype("f8")
    file.create_dataset("x", (2,), file["type"], data=[1.0, 2.0])


def of_records(file):
    file.create_dataset("x", data=np.zeros(2, [("a", "f4"), ("b", "i4")]))


def twice_in_the_file(file):
    file["y"] = file.create_group("x")


def in_itself(file):
    file.create_group("x")["up"] = file["/"]


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (link_out, "not followed"),
        (link_to_a_path, "links to a path .*not followed"),
        (kept_elsewhere, "an array kept in another file is not read"),
        (assembled_elsewhere, "an array that is not in one piece is not read"),
        (compressed, "an array compressed is not read"),
        (in_chunks, "an array that is not in one piece is not read"),
        (never_written, "bytes at 18446744073709551615: the file ends at"),
        (of_a_named_type, "types and messages shared between objects are not read"),
        (of_records, "a type of kind 6 with 8 bytes is not read"),
        (twice_in_the_file, "is in the file more than once"),
        (in_itself, "is in the file more than once"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"libver": "v110"}])
def test_what_is_not_read(fill, message, options):
    with pytest.raises(HDF5Error, match=message):
        look_at_everything(read(file_of(fill, **options)))


def test_names_in_a_heap():
    def fill(file):
        for i in range(20):
            file.create_group(f"g{i}")

    with pytest.raises(HDF5Error, match="a group with its names in a heap is not read"):
        len(read(file_of(fill, libver="latest")))


@pytest.mark.parametrize("data", [b"", b"\x89HDF", b"a text that is no file", bytes(2000)])
def test_no_hdf5_at_all(data):
    with pytest.raises(HDF5Error):
        read(data)


# --- made to harm -----------------------------------------------------------------------------------------


def test_a_claim_of_a_huge_array():
    data = write({"x": np.zeros(1234567)})
    with pytest.raises(HDF5Error, match=r"shape \(1099511627776,\) would take 8796093022208 bytes"):
        read(data.replace(struct.pack("<Q", 1234567), struct.pack("<Q", 2**40)))["x"]


def test_arrays_on_top_of_each_other():
    """Two hundred arrays that all claim the same quarter of a megabyte."""
    big, sizes = 2**18, range(60_001, 60_201)
    data = write({"big": np.zeros(big, "u1")} | {f"x{n}": np.zeros(n, "u1") for n in sizes})
    with h5py.File(io.BytesIO(data)) as file:
        offsets = {n: file[f"x{n}"].id.get_offset() for n in sizes}
        there = file["big"].id.get_offset()
    for n, offset in offsets.items():
        data = data.replace(struct.pack("<QQ", offset, n), struct.pack("<QQ", there, big))
        data = data.replace(struct.pack("<Q", n), struct.pack("<Q", big))  # the shape
    group = read(data)
    assert group["x60001"].read().shape == (big,)  # each alone is as it should be
    with pytest.raises(HDF5Error, match="arrays of 52690944 bytes in a file of"):
        group.count_bytes()


def test_strings_that_are_all_the_same_long_one():
    def fill(file):
        file.attrs["one"] = "x" * 60_000
        file.attrs["many"] = [f"{i:04}" for i in range(3000)]

    data = file_of(fill)
    (length, address, index) = next(
        struct.unpack_from("<IQI", data, at)
        for at in range(0, len(data) - 16)
        if struct.unpack_from("<I", data, at)[0] == 60_000
    )
    pointer = struct.pack("<IQI", length, address, index)
    start = next(
        at
        for at in range(0, len(data) - 32)
        if struct.unpack_from("<I", data, at)[0] == struct.unpack_from("<I", data, at + 16)[0] == 4
    )
    bomb = data[:start] + pointer * 3000 + data[start + 16 * 3000 :]
    with pytest.raises(HDF5Error, match=r"lie on top of each other|no object|the file ends at"):
        read(bomb).attributes  # noqa: B018


def test_an_empty_array_of_many_lists():
    data = file_of(lambda file: file.attrs.create("x", np.zeros((1234567, 0), "S1")))
    with pytest.raises(HDF5Error, match=r"an array of shape \(1234567, 0\)"):
        read(data).attributes  # noqa: B018


def test_a_header_of_nothing_but_messages():
    """Two hundred thousand links of no length: as Python objects they would take fifty times the file."""
    messages = b"\x06\x00\x00\x00" * 200_000
    header = b"OHDR\x02\x02" + struct.pack("<I", len(messages)) + messages + bytes(4)
    superblock = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00"
    end = 48 + len(header)
    data = superblock + struct.pack("<QQQQ", 0, 2**64 - 1, end, 48) + bytes(4) + header
    with pytest.raises(HDF5Error, match="too many parts for its size"):
        read(data)
    nothing = data.replace(b"\x06\x00\x00\x00", bytes(4))  # messages that mean nothing are not kept
    assert len(read(nothing)) == 0


def test_a_header_that_goes_through_the_same_bytes_again_and_again():
    """Five hundred continuations into one stretch of empty messages: fifty million bytes of a file of 0.1."""
    zeros, start = bytes(100_000), 48
    count = 500
    end = start + 16 + 24 * count
    chunk = b"".join(
        struct.pack("<HHB3xQQ", 0x10, 16, 0, end + 8 * i, len(zeros) - 8 * i) for i in range(count)
    )
    header = struct.pack("<BBHII4x", 1, 0, count, 1, len(chunk)) + chunk
    superblock = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00"
    data = superblock + struct.pack("<QQQQ", 0, 2**64 - 1, 0, start) + bytes(4) + header + zeros
    with pytest.raises(HDF5Error, match="lie on top of each other"):
        read(data)


def mutated(data, seed):
    """Return a file with some bytes changed, or cut off."""
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        at = chance.randrange(len(damaged))
        kind = chance.random()
        if kind < 0.5:
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind < 0.8:
            damaged[at] = chance.choice([0, 1, 127, 128, 255])
        else:
            number = chance.choice([0, 2**64 - 1, 2**63, 2**32, 1000, len(data), chance.randrange(len(data))])
            damaged[at : at + 8] = number.to_bytes(8, "little")
    return bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.1 else damaged)


@pytest.mark.parametrize("options", [{}, {"libver": "v110"}])
def test_two_thousand_damaged_files_open_or_are_refused(options):
    def fill(file):
        for i in range(6):
            file.create_dataset(f"g/{i}/vars/0", data=np.arange(5.0))
            file[f"g/{i}"].attrs["name"] = f"layer {i}"
        file.attrs["names"] = ["a", "bb", "ccc"]

    data, opened = file_of(fill, **options), 0
    look_at_everything(read(data))
    for seed in range(2000):
        try:
            look_at_everything(read(mutated(data, seed)))
            opened += 1
        except HDF5Error:
            pass
    assert 200 < opened < 1800  # both happen: the mutations are neither harmless nor hopeless
