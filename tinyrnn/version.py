"""The version, alone in its file so that packaging reads it without importing anything else."""

__version__ = "0.1.0"
