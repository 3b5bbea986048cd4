"""A model of Keras, served in a fresh process: ``python -m benchmarks.serve SIDE FILE SECONDS``.

Prints one line of JSON: the seconds of the import, of loading, of the first prediction, of one row and of a
batch later (medians of so many SECONDS), the memory of the process after the import and at its peak, and the
predictions.
"""

import importlib
import json
import os
import resource
import sys
import time
from statistics import median

LENGTH, WORDS, BATCH = 100, 5000, 32
MODULES = {"tinyrnn": "tinyrnn", "ONNX Runtime": "onnxruntime"}  # Keras is imported by its own name


def megabytes() -> float:
    """Return the most memory that this process has had so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def loaded(side: str, path: str):
    """Return a function of a batch of ids that returns what the model predicts."""
    if side == "ONNX Runtime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        session = onnxruntime.InferenceSession(path, options)
        (name,) = (x.name for x in session.get_inputs())
        return lambda x: session.run(None, {name: x})[0]
    if side == "tinyrnn":
        import tinyrnn

        return tinyrnn.load_model(path).predict_on_batch
    import keras

    return keras.models.load_model(path).predict_on_batch


def repeated(predict, x, seconds: float) -> float:
    """Return the median time of a prediction, over so many seconds or so."""
    times = []
    while sum(times) < seconds or len(times) < 5:
        begun = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - begun)
    return median(times)


def main() -> None:
    """Import, load, predict."""
    side, path, seconds = sys.argv[1:]
    clock = [time.perf_counter()]
    importlib.import_module(MODULES.get(side, "keras"))
    clock.append(time.perf_counter())
    after_import = megabytes()
    predict = loaded(side, path)
    clock.append(time.perf_counter())

    import numpy as np  # every side has imported it

    x = np.random.default_rng(0).integers(1, WORDS, (BATCH, LENGTH), dtype="int32")
    predict(x[:1])
    clock.append(time.perf_counter())
    outputs = np.asarray(predict(x))
    start, imported, ready, first = clock
    took = {"import": imported - start, "load": ready - imported, "first prediction": first - ready}
    took |= {
        "one row": repeated(predict, x[:1], float(seconds)),
        "batch": repeated(predict, x, float(seconds)),
    }
    memory = {"memory after import": after_import, "memory": megabytes()}
    print(json.dumps(took | memory | {"outputs": outputs.ravel().tolist()}))


if __name__ == "__main__":
    main()
