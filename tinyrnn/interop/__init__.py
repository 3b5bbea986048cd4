"""Weights from and for PyTorch, models for ONNX. Neither library is imported before it is used."""

from tinyrnn.interop.onnx import export_onnx
from tinyrnn.interop.pytorch import from_torch, to_torch

__all__ = ["export_onnx", "from_torch", "to_torch"]
