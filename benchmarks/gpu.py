"""Run tinyrnn on the GPU beside PyTorch there, and beside itself on the CPU; what is not here is left out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks import racing
from benchmarks.sections import GPU_SECTIONS, ON_GPU, TINYRNN
from tinyrnn.threads import get_num_threads


def gpus() -> list[str]:
    """Return what the driver says of itself and of each GPU, or what it answers instead."""
    known = "name,driver_version,memory.total,power.limit"
    asked = ["nvidia-smi", f"--query-gpu={known}", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30.0, check=False)
    except OSError:
        return ["GPU: no NVIDIA driver, as nvidia-smi is not here"]
    except subprocess.TimeoutExpired:
        return ["GPU: nvidia-smi does not answer"]
    kind = "GPU, driver, memory, power" if done.returncode == 0 else "GPU: nvidia-smi fails"
    return [f"{kind}: {line}" for line in done.stdout.splitlines() or ["it finds none"]]


def measured(results: dict[str, Any]) -> bool:
    """Whether any side was timed at all."""
    return any(row["seconds"] for rows in results["sections"].values() for row in rows)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the command line; returns the results."""
    parser = racing.parser("python -m benchmarks.gpu", __doc__, ON_GPU, GPU_SECTIONS)
    parser.set_defaults(threads=get_num_threads())  # as many as tinyrnn takes on this CPU by itself
    options = parser.parse_args(argv)
    return racing.run(options, [TINYRNN], "gpu.json", [] if options.markdown else gpus())


if __name__ == "__main__":
    sys.exit(None if measured(main()) else "nothing could be measured: see above for what each side lacks")
