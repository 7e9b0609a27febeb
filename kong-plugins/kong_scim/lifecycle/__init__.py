"""What becomes of a change after its commit: events, and whoever must hear of them."""
