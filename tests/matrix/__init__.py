"""The target matrix: real programs, one faulted call each, and what the program made of it."""
