"""Abandoned-checkout webhooks: snapshots in, one checkout as it stands, signed webhooks out.

Imports point inwards, from ``functions`` over uses and adapters to ``checkout``; ``docs/architecture.md``
names the rings. ``wiring`` alone knows the concrete clients.
"""
