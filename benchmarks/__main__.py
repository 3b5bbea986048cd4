"""Run tinyrnn and the installed peers side by side; print tables, write JSON, draw plots."""

from __future__ import annotations

from typing import Any

from benchmarks import racing
from benchmarks.protocol import PEERS
from benchmarks.sections import ON_GPU, SECTIONS, SGEMM, TINYRNN

OWN = (TINYRNN, SGEMM)
OTHERS = [name for name in PEERS if name not in (*OWN, *ON_GPU)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the command line; returns the results."""
    parser = racing.parser("python -m benchmarks", __doc__, OTHERS, SECTIONS)
    return racing.run(parser.parse_args(argv), OWN, "results.json")


if __name__ == "__main__":
    main()
