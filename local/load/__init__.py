"""`make load`: snapshots of many checkouts to many receivers, some of which fail, and the accounts of it."""
