"""Logs: a line is a constant message with ids and lengths as fields.

Never a shopper's datum, a secret, a signature or a URL.
"""

from aws_lambda_powertools import Logger

logger = Logger()
"""Level and service come from the function's environment."""
