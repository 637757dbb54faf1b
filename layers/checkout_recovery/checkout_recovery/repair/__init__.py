"""What an operator does when deliveries have failed: one sent again, all recovered, a queue emptied."""
