"""Files are there whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import sys

import pytest

from tinyrnn import files
from tinyrnn.files import remove_parts, write_whole


def test_bytes_or_a_function_that_writes(tmp_path):
    write_whole(tmp_path / "new" / "folder" / "a", b"bytes")
    write_whole(str(tmp_path / "b"), lambda file: file.write(b"written"))
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"bytes"
    assert (tmp_path / "b").read_bytes() == b"written"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_what_fails_leaves_the_old_file_and_no_part(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the new")
        raise error

    with pytest.raises(type(error)) as caught:
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    if isinstance(error, OSError):
        assert caught.value.errno == 28
        assert str(caught.value) == (
            f"[Errno 28] No space left on device; what was there is unchanged: '{path}'"
        )


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_late(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="Input/output error; nothing was left there"):
        write_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_a_real_limit_of_the_system(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = f"from tinyrnn.files import write_whole; write_whole({str(path)!r}, bytes(100_000))"

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True)
    assert "File too large; what was there is unchanged" in done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_permissions_are_those_of_an_ordinary_new_file_or_of_the_old_one(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").chmod(0o640)
    write_whole(tmp_path / "plain", b"")
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o640


def test_a_link_goes_on_leading_to_its_file(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, real=real, name=name: (done.append(name), real(*a)))
    write_whole(tmp_path / "file", b"")
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder
    done.clear()
    write_whole(tmp_path / "file", b"", durable=False)
    assert done == ["replace"]


def test_parts_of_killed_writers_are_swept(tmp_path):
    code = (
        "import os; from tinyrnn.files import write_whole\n"
        f"write_whole({str(tmp_path / 'file')!r}, lambda file: os.kill(os.getpid(), 9))"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (part,) = os.listdir(tmp_path)
    assert part.startswith(".")
    (tmp_path / "mine").write_bytes(b"")
    remove_parts(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == [part, "mine"]
    remove_parts(tmp_path / "file")
    assert os.listdir(tmp_path) == ["mine"]


def test_a_name_as_long_as_a_name_may_be(tmp_path):
    write_whole(tmp_path / ("x" * 255), b"new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="no file can be put there"):
            write_whole(tmp_path / name, b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
