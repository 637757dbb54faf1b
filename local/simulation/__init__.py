"""A store's day, played through the real code and judged from outside (see docs/simulation.md)."""
