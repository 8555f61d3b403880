"""What a model computes with, beside torch. Each kernel has a torch function of the same signature as its oracle."""
