"""From raw data to arrays: `sequence` cuts and pads, `text` turns words into ids."""

from tinyrnn.preprocessing import sequence, text

__all__ = ["sequence", "text"]
