"""Native code: C++ for processors in `cpu/`, compiled on first use. `native` is the model that runs it; the torch
operations of `model/layers.py` do the same slowly and are what it is tested against."""
