"""A store's day, played through the real code and judged from outside: `make simulate` (see docs/simulation.md)."""
