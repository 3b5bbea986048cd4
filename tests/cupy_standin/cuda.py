"""`cupy.cuda`: the device and its properties, streams and what they record, events, errors."""

from __future__ import annotations

import time
import types
import weakref
from typing import Any

import cupy_standin
from cupy_standin import device as state

PROPERTIES = {
    "name": b"stand-in", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30, "multiProcessorCount": 132,
    "sharedMemPerBlock": 48 << 10, "sharedMemPerBlockOptin": 227 << 10,
    "sharedMemPerMultiprocessor": 228 << 10, "maxThreadsPerBlock": 1024, "warpSize": 32,
    "regsPerBlock": 65536, "regsPerMultiprocessor": 65536, "l2CacheSize": 50 << 20,
}  # fmt: skip
"""What `runtime.getDeviceProperties` says of an H100."""

ATTRIBUTES = {  # of `Device.attributes`: where they stand in the properties
    "WarpSize": "warpSize", "MultiProcessorCount": "multiProcessorCount",
    "MaxThreadsPerBlock": "maxThreadsPerBlock",
    "MaxSharedMemoryPerBlock": "sharedMemPerBlock", "MaxSharedMemoryPerBlockOptin": "sharedMemPerBlockOptin",
    "MaxSharedMemoryPerMultiprocessor": "sharedMemPerMultiprocessor", "MaxRegistersPerBlock": "regsPerBlock",
    "MaxRegistersPerMultiprocessor": "regsPerMultiprocessor", "L2CacheSize": "l2CacheSize",
}  # fmt: skip

# --- errors -----------------------------------------------------------------------------------------------


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver."""


class CompileException(Exception):  # noqa: N818
    """A source that does not compile, with what the compiler says."""

    def __init__(self, msg: str, source: str, name: str, options: Any, backend: str = "nvrtc"):
        super().__init__(msg)


class OutOfMemoryError(MemoryError):
    """The device has no memory left."""

    def __init__(self, size: int, total: int, limit: int = 0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


# --- the device -------------------------------------------------------------------------------------------


def is_available() -> bool:
    """Return whether there is a device."""
    return cupy_standin.device_count > 0


def _get_device_count() -> int:
    if not cupy_standin.device_count:
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    return cupy_standin.device_count


def _get_device_properties(device: int) -> dict:
    if not 0 <= device < _get_device_count():
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    return dict(cupy_standin.device_properties)


def _mem_get_info() -> tuple[int, int]:
    total = _get_device_properties(0)["totalGlobalMem"]
    free = cupy_standin.free_bytes
    return (total - state.taken_bytes() if free is None else free), total


def _synchronize() -> None:
    state.fetch("synchronize")


class Device:
    """A device."""

    def __init__(self, device: Any = None):
        self.id = 0 if device is None else int(device)

    @property
    def attributes(self) -> dict[str, int]:
        """Its properties by the names that CUDA has for attributes."""
        properties = _get_device_properties(self.id)
        return {name: properties[of] for name, of in ATTRIBUTES.items()}

    @property
    def compute_capability(self) -> str:
        """As in ``"90"``."""
        properties = _get_device_properties(self.id)
        return f"{properties['major']}{properties['minor']}"

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free bytes and all bytes."""
        return _mem_get_info()

    def use(self) -> None:
        """Make it the current device."""
        _get_device_properties(self.id)

    def synchronize(self) -> None:
        """Wait until all is done."""
        _synchronize()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        self.use()
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class MemoryPool:
    """The memory that is taken, and a limit to it."""

    def used_bytes(self) -> int:
        """Return how much arrays take."""
        return state.taken_bytes()

    total_bytes = used_bytes

    def n_free_blocks(self) -> int:
        """Return how many pieces are kept for later: none."""
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back what is kept for later."""


pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    """Return the memory."""
    return pool


# --- streams ----------------------------------------------------------------------------------------------


class Stream:
    """A stream: the current one inside ``with stream``."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority=None):
        self.recorded: list | None = None
        self.ptr = 0 if null else id(self)
        self.is_non_blocking = non_blocking

    def __enter__(self) -> Stream:
        state.streams.entered.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        state.streams.entered.pop()

    def use(self) -> Stream:
        """Make it the current stream."""
        state.streams.entered[-1:] = [self]
        return self

    def begin_capture(self, mode: int | None = None) -> None:
        """Record what is launched from now on, instead of running it."""
        if not self.ptr:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted on the default stream"
            )
        if self.recorded is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed: it captures")
        self.recorded = []

    def end_capture(self) -> Graph:
        """Return what was recorded."""
        if self.recorded is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the operation cannot be performed: no capture")
        recorded, self.recorded = self.recorded, None
        return _graph(recorded)

    def is_capturing(self) -> bool:
        """Return whether it records."""
        return self.recorded is not None

    def synchronize(self) -> None:
        """Wait until all is done."""
        _synchronize()

    def record(self, event: Event | None = None) -> Event:
        """Note when all so far is done."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what follows wait for an event: here everything runs in order."""

    done = True


Stream.null = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the current stream of this thread."""
    return state.streams.entered[-1] if state.streams.entered else Stream.null


class Graph:
    """What a stream has recorded; like CUDA's it does not keep the memory that it uses."""

    def __init__(self, *args: Any):
        raise RuntimeError("a graph is what Stream.end_capture returns")

    def launch(self, stream: Stream | None = None) -> None:
        """Run all of it, as one launch."""
        with stream or get_current_stream():
            state.issue(self._run)

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare it on the device."""

    def _run(self) -> None:
        for work, memory in self._recorded:
            if any(ref() is None for ref in memory):
                raise RuntimeError("a graph uses memory that was freed: keep its arrays as long as the graph")
            work()


def _graph(recorded: list[tuple[Any, list[weakref.ref]]]) -> Graph:
    graph = Graph.__new__(Graph)
    graph._recorded = recorded
    return graph


class Event:
    """A moment in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False):
        self.time = None

    def record(self, stream: Stream | None = None) -> None:
        """Take down the moment."""
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        """Wait for it."""
        _synchronize()

    done = True


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the milliseconds between two events."""
    return (end_event.time - start_event.time) * 1000


# --- CuPy's modules below cupy.cuda -----------------------------------------------------------------------

driver = types.SimpleNamespace(CUDADriverError=CUDADriverError)
compiler = types.SimpleNamespace(CompileException=CompileException)
memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool)
stream = types.SimpleNamespace(Stream=Stream, Event=Event, get_current_stream=get_current_stream)
graph = types.SimpleNamespace(Graph=Graph)
runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=_get_device_count,
    getDeviceProperties=_get_device_properties,
    getDevice=lambda: 0,
    memGetInfo=_mem_get_info,
    deviceSynchronize=_synchronize,
    driverGetVersion=lambda: 13000,
    runtimeGetVersion=lambda: 13000,
    streamCaptureModeGlobal=0,
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
)
