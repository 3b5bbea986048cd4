"""Do versions of Keras open our files, and we theirs, and does training go on?  ``make keras-versions``.

For every version a virtual environment is made, once, in a cache folder. There Keras, and here tinyrnn, make
the models of `MODELS`, train them a little and write files; each reads the other's. Compared are predictions
(1e-5), the optimizer's count of steps, and the losses of two further steps (1e-4): the second depends on the
optimizer's state. The exit status is 1 if something differs that `KNOWN` does not list.

Every library runs in processes of its own, which this script starts with ``--job``; results are passed in
``.npz`` files. The packages for the oldest versions exist for Python 3.11 and 3.12.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np

# Each Keras with a JAX that it runs on. The first two are older than NumPy 2, and import `packaging` without
# asking for it.
VERSIONS = {
    "3.0.5": ["jax[cpu]==0.4.23", "numpy<2", "scipy<1.13", "packaging"],
    "3.3.3": ["jax[cpu]==0.4.28", "numpy<2", "packaging"],
    "3.6.0": ["jax[cpu]==0.4.35"],
    "3.8.0": ["jax[cpu]==0.5.0"],
    "3.10.0": ["jax[cpu]==0.6.2"],
    "3.12.0": ["jax[cpu]==0.8.0"],
    "3.13.2": ["jax[cpu]==0.9.0"],
    "3.14.0": ["jax[cpu]==0.9.2"],
    "3.15.1": ["jax[cpu]==0.10.2"],
}
# How often a version is tried until all is right; once by default. Keras 3.6 keeps masks by the identity of
# tensors, so that on JAX a tensor now and then has the mask of an earlier one.
TRIES = {"3.6.0": 5}

COLUMNS = ["ours .keras", "ours .weights.h5", "theirs .keras", "theirs .weights.h5", "theirs .h5"]
LISTS = "reads where a graph begins and ends only as lists of tensors, not as single tensors"
NAMES = "cannot write the .h5 file: gives two weights one name"
# What a version itself is to blame for: (version, column, model) -> reason.
KNOWN = {
    (version, "ours .keras", model): LISTS
    for version in ("3.0.5", "3.3.3")
    for model in ("dropouts", "attention", "encoder_decoder", "nested", "shared")
} | {("3.0.5", "theirs .h5", model): NAMES for model in ("words", "cells", "nested")}


# --- models: each written once, for both libraries ----------------------------------------------------------
# fmt: off


def words(k, L):
    return [k.Input((None,), dtype="int32"), L.Embedding(9, 4, mask_zero=True),
            L.Bidirectional(L.LSTM(3, return_sequences=True)), L.TimeDistributed(L.Dense(4, "relu")),
            L.GRU(3, return_sequences=True), L.LayerNormalization(), L.GlobalAveragePooling1D(), L.Dense(1)]


def dropouts(k, L):
    x = k.Input((None, 3))
    y = L.LSTM(4, dropout=0.2, recurrent_dropout=0.3, return_sequences=True)(L.SpatialDropout1D(0.2)(x))
    y = L.SimpleRNN(4, kernel_regularizer="l2", return_sequences=True)(L.GaussianNoise(0.1)(y))
    y = L.Dropout(0.5)(L.GlobalMaxPooling1D()(y))
    return x, L.Dense(2, activation="softmax")(y)


def cells(k, L):
    stacked = L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(4), L.SimpleRNNCell(2)])
    return [k.Input((6, 3)), L.RNN(stacked, return_sequences=True),
            L.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid"), L.RepeatVector(4),
            L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode="sum"), L.Dense(2)]


def attention(k, L):
    both = [k.Input((5, 3)), k.Input((6, 3))]
    return both, L.Concatenate()([L.Attention(use_scale=True)(both), L.AdditiveAttention()(both)])


def encoder_decoder(k, L):
    source, target = k.Input((None, 3)), k.Input((None, 2))
    _, h, c = L.LSTM(4, return_state=True)(source)
    return [source, target], L.Dense(2)(L.LSTM(4, return_sequences=True)(target, initial_state=[h, c]))


def two_inputs(k, L):
    text, numbers = k.Input((None,), dtype="int32"), k.Input((2,))
    joined = L.Concatenate()([L.LSTM(3)(L.Embedding(9, 3, mask_zero=True)(text)), numbers])
    return [text, numbers], [L.Dense(1)(joined), L.Dense(2)(joined)]


def nested(k, L):
    x, y = k.Input((5, 3)), k.Input((5, 3))
    inner = k.Model(x, L.GRU(3, return_sequences=True)(L.Dense(4)(x)))
    row = k.Sequential([k.Input((5, 3)), L.Dense(4), L.SimpleRNN(2)])
    return y, L.Dense(1)(row(inner(y)))


def shared(k, L):
    both, mask, lstm, dense = [k.Input((5, 3)), k.Input((5, 3))], L.Masking(), L.LSTM(3), L.Dense(2)
    return both, L.Subtract()([dense(lstm(mask(x))) for x in both])


# fmt: on
MODELS = {
    m.__name__: m for m in [words, dropouts, cells, attention, encoder_decoder, two_inputs, nested, shared]
}


# --- what both libraries do, in processes of their own ------------------------------------------------------


def make(k, name):
    parts = MODELS[name](k, k.layers)
    model = k.Sequential(parts) if isinstance(parts, list) else k.Model(*parts)
    model.compile(k.optimizers.Adam(0.01), "mse")
    return model


def predictions(model, x):
    found = model.predict(x, verbose=0)
    return found if isinstance(found, list) else [found]


def data(model):
    """Return the same inputs and targets for the same model: words that end in zeros, or numbers."""
    rng, x = np.random.default_rng(0), []
    for tensor in model.inputs:
        shape = (4, *(6 if n is None else n for n in tensor.shape[1:]))
        ids = rng.integers(1, 9, shape[:2]) * (np.arange(shape[1]) < rng.integers(1, 7, (4, 1)))
        x.append(ids if str(tensor.dtype) == "int32" else rng.standard_normal(shape).astype("float32"))
    x = x if len(x) > 1 else x[0]
    y = [rng.standard_normal(p.shape).astype("float32") for p in predictions(model, x)]
    return x, y if len(y) > 1 else y[0]


def train(model, x, y, steps):
    return model.fit(x, y, batch_size=4, epochs=steps, verbose=0).history["loss"]


def measure(model):
    """Return what is compared; the losses are of training going on."""
    x, y = data(model)
    found = {f"prediction {i}": p for i, p in enumerate(predictions(model, x))}
    return found | {"steps": np.array(model.optimizer.iterations), "losses": train(model, x, y, 2)}


@contextmanager
def errors_noted(path):
    """Write an error to a file instead of raising it."""
    try:
        yield
    except Exception as error:
        Path(f"{path}.error").write_text(f"{type(error).__name__}: {error}")


def write(k, folder):
    """Train the models, write them in all formats there are, and what they compute."""
    for name in MODELS:
        with errors_noted(folder / name):
            model = make(k, name)
            train(model, *data(model), steps=3)
            for suffix in [".keras", ".weights.h5"] + [".h5"] * (k.__name__ == "keras"):
                path = folder / f"{name}{suffix}"
                with errors_noted(path):
                    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
            np.savez(folder / f"{name}.npz", **measure(model))


def read(k, folder, results):
    """Open the files of a folder, and write what the models compute."""
    for path in [*folder.glob("*.keras"), *folder.glob("*.h5")]:
        with errors_noted(results / path.name):
            if path.name.endswith(".weights.h5"):
                model = make(k, path.name.partition(".")[0])
                model.optimizer.build(model.trainable_variables)
                model.load_weights(path)
            else:
                model = k.models.load_model(path)
            np.savez(results / f"{path.name}.npz", **measure(model))


# --- the comparison -----------------------------------------------------------------------------------------


def run(python, job, *arguments):
    """Start a job in a process of its own; its output is shown if it fails."""
    settings = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [python, __file__, "--job", job, *map(str, arguments)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def environment(folder, version):
    """Return the Python of an environment with this Keras; make it if there is none."""
    place = folder / f"keras-{version}"
    python, packages = place / "bin" / "python", [f"keras=={version}", *VERSIONS[version]]
    stamp = place / "packages.json"  # written last: an environment without is not complete
    if not stamp.exists() or json.loads(stamp.read_text()) != packages:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", *packages], check=True)
        stamp.write_text(json.dumps(packages))
    return python


def check(version, python, ours):
    """Return what is wrong: (version, column, model) -> what."""
    with tempfile.TemporaryDirectory() as scratch:
        theirs, by_them, by_us = places = [Path(scratch, name) for name in ("theirs", "by them", "by us")]
        for place in places:
            place.mkdir()
        run(python, "write", "keras", theirs)
        run(python, "read", "keras", ours, by_them)
        run(sys.executable, "read", "tinyrnn", theirs, by_us)
        found = {}
        for column in COLUMNS:
            writer, suffix = column.split()
            places = (ours, by_them) if writer == "ours" else (theirs, by_us)
            found |= {(version, column, name): difference(name, suffix, *places) for name in MODELS}
    return {key: what for key, what in found.items() if what}


def difference(name, suffix, written, results):
    """Return in words what a reader found other than the writer had; "" if nothing."""
    file = f"{name}{suffix}"
    for error in (written / f"{name}.error", written / f"{file}.error", results / f"{file}.error"):
        if error.exists():
            return error.read_text()
    expected, found = np.load(written / f"{name}.npz"), np.load(results / f"{file}.npz")
    wrong = [] if np.isfinite(found["losses"]).all() else ["losses that are not finite"]
    for key in expected.files:
        tolerance = 1e-4 if key == "losses" else 1e-5
        is_chance = key == "losses" and name == "dropouts"
        if not is_chance and not np.allclose(found[key], expected[key], tolerance, tolerance):
            wrong.append(f"{key}: expected {expected[key]}, found {found[key]}")
    return "; ".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), choices=list(VERSIONS))
    parser.add_argument("--folder", type=Path, help="of the environments; a cache folder by default")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job, library, *folders = options.job
        return {"write": write, "read": read}[job](import_module(library), *map(Path, folders))
    import platformdirs

    folder = (
        options.folder or Path(platformdirs.user_cache_dir("tinyrnn", appauthor=False)) / "keras-versions"
    )
    known, failed = {}, {}
    with tempfile.TemporaryDirectory() as ours:
        run(sys.executable, "write", "tinyrnn", ours)
        print("".join(f"{title:20}" for title in ["Keras", "backend", *COLUMNS]))
        for version in options.versions:
            python = environment(folder, version)
            for _ in range(TRIES.get(version, 1)):
                wrong = check(version, python, Path(ours))
                if not wrong.keys() - KNOWN.keys():
                    break
            known |= {key: KNOWN[key] for key in wrong if key in KNOWN}
            failed |= {key: what for key, what in wrong.items() if key not in KNOWN}
            row = [version, VERSIONS[version][0].replace("[cpu]==", " ")]
            for column in COLUMNS:
                n_failed, n_known = (sum(k[:2] == (version, column) for k in d) for d in (failed, known))
                row.append(f"{n_failed} failed" if n_failed else f"{n_known} known" if n_known else "ok")
            print("".join(f"{cell:20}" for cell in row), flush=True)
    for title, found in {"known": known, "failed": failed}.items():
        for key, what in found.items():
            print(f"{title}: {', '.join(key)}: {what}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
