"""One step of training in a fresh process: ``python -m benchmarks.first_step MODULE FILE THREADS``.

Imports MODULE, builds a model through FILE of `benchmarks.peers`, takes two steps. Prints one line of JSON:
the seconds of the import and of each step, and the time of day at the end of the first.
"""

import importlib
import json
import sys
import time

MODEL = 2  # Embedding 2002x128, LSTM 64, B32 T40


def main() -> None:
    """Import, build, step, step."""
    module, file, threads = sys.argv[1:]
    clock = [time.perf_counter()]
    importlib.import_module(module)
    clock.append(time.perf_counter())

    from benchmarks.models import MODELS  # only now: it imports numpy

    peer = importlib.import_module(f"benchmarks.peers.{file}")
    peer.start(int(threads))
    step = peer.Program(MODELS[MODEL]).fit(1)
    clock.append(time.perf_counter())
    step()
    clock.append(time.perf_counter())
    done = time.time()
    step()
    clock.append(time.perf_counter())
    start, imported, built, first, second = clock
    took = {"import": imported - start, "first step": first - built, "second step": second - first}
    print(json.dumps(took | {"done": done}))


if __name__ == "__main__":
    main()
