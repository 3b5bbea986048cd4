"""CUDA C compiles for the GPUs there are, and what does not is found out without one."""

import nvrtc
import pytest

pytestmark = pytest.mark.skipif(bool(nvrtc.missing()), reason=nvrtc.missing())

TWICE = 'extern "C" __global__ void twice(float* x) {{\n{}\nx[threadIdx.x] *= 2;\n}}'


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90", "sm_100"])
def test_a_source_becomes_machine_code(arch):
    cubin, log = nvrtc.compile(TWICE.format("__shared__ float s[8];\ns[threadIdx.x] = 1;"), arch)
    assert cubin.startswith(b"\x7fELF")
    found = nvrtc.resources(log)["twice"]
    assert 0 < found["registers"] < 64
    assert (found["stack"], found["spill_stores"]) == (0, 0)


def test_what_spills_is_found():
    body = "float a[64] = {};\nfor (int i = 0; i < 99; ++i) a[(int)x[i] % 64] += 1;\nx[0] = a[(int)x[1]];"
    found = nvrtc.resources(nvrtc.compile(TWICE.format(body))[1])["twice"]
    assert found["stack"] == 256


def test_warnings_are_told():
    assert nvrtc.warnings(nvrtc.compile(TWICE.format(""))[1]) == []
    assert "unused" in nvrtc.warnings(nvrtc.compile(TWICE.format("int unused;"))[1])[0]


def test_a_wrong_source_says_where():
    with pytest.raises(nvrtc.CompileError, match=r'kernel\.cu\(2\): error: identifier "nonsense"'):
        nvrtc.compile(TWICE.format("nonsense();"))
    with pytest.raises(nvrtc.CompileError, match="invalid value for --gpu-architecture"):
        nvrtc.compile(TWICE.format(""), "sm_12345")
