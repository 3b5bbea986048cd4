"""tinyrnn beside its peers: ``python -m benchmarks``, and ``gpu``, ``startup`` and ``serving`` in it."""
