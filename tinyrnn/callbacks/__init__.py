"""Callbacks: what is done before and after training, epochs and batches, with Keras's names and decisions."""

from tinyrnn.callbacks.base import Callback
from tinyrnn.callbacks.checkpoints import BackupAndRestore, ModelCheckpoint
from tinyrnn.callbacks.monitoring import EarlyStopping, MonitorCallback, ReduceLROnPlateau
from tinyrnn.callbacks.recording import CSVLogger, History, ProgbarLogger
from tinyrnn.callbacks.several import CallbackList
from tinyrnn.callbacks.steering import LambdaCallback, LearningRateScheduler, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
