"""tcabench: energy-efficiency benchmarking and certification of AI inference."""

__version__ = "0.1.0"
