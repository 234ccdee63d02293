"""Differences that cannot be avoided: a program that looks at its own environment sees the one variable that carries
the session. Each test that notices is listed with what it sees; nothing else may differ."""

VISIBLE: dict[str, str] = {}
