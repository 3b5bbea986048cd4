"""English technical prose that needs no download: what ``help()`` says about Python's own language."""

from __future__ import annotations

__all__ = ["load_data"]


def load_data() -> str:
    """Return Python's help texts on its syntax and types, one after the other.

    They come with Python (`pydoc_data.topics`), so nothing is fetched; length and wording differ a little
    from version to version (465,000 characters in 3.11). They hold examples of code between the paragraphs.

    Returns
    -------
    str

    Raises
    ------
    OSError
        If this Python was installed without them, as small distributions do.

    Notes
    -----
    From the Python documentation (docs.python.org), under the licence of the Python Software Foundation.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise OSError("this Python was installed without its help texts (pydoc_data)") from error
    return "\n\n".join(topics[name].strip() for name in sorted(topics))
