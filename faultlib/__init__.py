"""faultlib: precise, provable, live syscall faults in unmodified Linux programs."""
