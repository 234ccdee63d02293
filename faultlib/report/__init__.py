"""Reports: what runs found, for people and for programs."""
