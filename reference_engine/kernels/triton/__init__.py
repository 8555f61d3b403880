"""Kernels for NVIDIA GPUs, in Triton; `oracle` has the same functions in torch.

Every kernel has one tile shape and one order of summation for any batch, so that a row's result does not depend on the
rows beside it: decoded alone, among others or as part of a longer prompt, it is the same to the last bit.
"""
