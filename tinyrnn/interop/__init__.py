"""Weights from and for PyTorch, models for ONNX. Neither library is imported before it is used."""

from tinyrnn.interop.pytorch import from_torch, to_torch

__all__ = ["from_torch", "to_torch"]
