"""What the next step computes: a plan of plain ints, made by the scheduler under one token budget."""
