"""`python -m bench`: the benchmark from a checkout; the same as `faultlib bench`. It lives in faultlib/bench."""

from faultlib.commands.bench import command

command(prog_name="python -m bench")
