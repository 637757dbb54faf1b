"""Abandoned-checkout webhooks: snapshots in, one checkout as it stands, signed webhooks out.

Imports point inwards: ``functions`` → uses (``delivery``, ``subscriptions``) → adapters (``tables``,
``providers``, ``contracts``) → ``checkout``. ``wiring`` alone knows the concrete clients.
"""
