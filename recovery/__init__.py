"""The operator's command: asks a stack's HTTP API, and judges saved requests.

Stands apart from the package that runs in Lambda and imports nothing of it: what it says of a stack or of a
signature is a second opinion, and it can be installed alone.
"""
