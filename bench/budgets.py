"""A figure beside the most or the least that it should be, in the words of `faultlib bench`."""

from __future__ import annotations


def at_least(figure: float, budget: float) -> str:
    """Says whether a rate keeps its budget, and how many times that is."""
    return f"budget {budget:,.0f} {'kept' if figure >= budget else 'MISSED'} ({figure / budget:.1f} times)"


def at_most(figure: float, budget: float, unit: str) -> str:
    """Says whether a cost keeps its budget, and how many times that is."""
    return f"budget {budget:g} {unit} {'kept' if figure <= budget else 'EXCEEDED'} ({figure / budget:.1f} times)"
