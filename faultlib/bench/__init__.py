"""What faultlib costs: the same calls bare, under the shim in each of its states, and under peers, in one interleaved run."""
