"""What need not be computed: one pattern a file, each with its proof or its label. See `pattern.py`."""
