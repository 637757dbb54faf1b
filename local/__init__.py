"""The product on a laptop: the local cloud, a receiver that verifies, the demo."""
