"""The way of an event to its subscribers: planned, sent past the egress guard, recorded, queued for retry."""
