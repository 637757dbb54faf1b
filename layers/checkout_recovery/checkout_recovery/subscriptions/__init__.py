"""Stores and who wants to hear of their checkouts: settings, tokens, secrets' overlap, subscriptions."""
