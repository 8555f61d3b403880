"""The KV cache: which page belongs to whom (`pool`, plain ints) and what lies in it (`table`, tensors)."""
