"""Layers, by Keras's names."""

from tinyrnn.layers.attention import AdditiveAttention, Attention
from tinyrnn.layers.base import Layer
from tinyrnn.layers.bidirectional import Bidirectional
from tinyrnn.layers.cells import GRUCell, LSTMCell, RNNCell, SimpleRNNCell, StackedRNNCells
from tinyrnn.layers.core import Activation, Dense, Lambda, LeakyReLU, Masking, ReLU, Softmax
from tinyrnn.layers.embedding import Embedding
from tinyrnn.layers.input import Input, InputLayer
from tinyrnn.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from tinyrnn.layers.normalization import LayerNormalization
from tinyrnn.layers.pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from tinyrnn.layers.recurrent import GRU, LSTM, RNN, SimpleRNN
from tinyrnn.layers.regularization import (
    ActivityRegularization,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
)
from tinyrnn.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from tinyrnn.layers.variable import Variable
from tinyrnn.layers.wrappers import TimeDistributed

GlobalAvgPool1D, GlobalMaxPool1D = GlobalAveragePooling1D, GlobalMaxPooling1D  # Keras's short names

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "Attention",
    "Average",
    "Bidirectional",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAvgPool1D",
    "GlobalMaxPool1D",
    "GlobalMaxPooling1D",
    "Input",
    "InputLayer",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "Multiply",
    "Permute",
    "RNNCell",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "Variable",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]
