"""Effects, predicates and processes on programs that do real work."""
