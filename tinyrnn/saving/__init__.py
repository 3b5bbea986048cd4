"""Models in files: shared with Keras both ways, safe to open, safe from crashes."""

from tinyrnn.naming import custom_object_scope
from tinyrnn.saving.model_files import ModelFileError, load_model, load_weights, save_model, save_weights

__all__ = [
    "ModelFileError",
    "custom_object_scope",
    "load_model",
    "load_weights",
    "save_model",
    "save_weights",
]
