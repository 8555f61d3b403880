"""What a model computes with beside torch: C++ for processors in `cpu/`, compiled on first use and run by `native`;
Triton for GPUs in `triton/`. Torch says the same slowly, and is what each is tested against."""
