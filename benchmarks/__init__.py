"""tinyrnn beside its peers: ``python -m benchmarks`` and ``python -m benchmarks.startup``."""
