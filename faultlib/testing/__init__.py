"""For tests of programs."""
