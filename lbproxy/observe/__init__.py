"""What is said of exchanges when they are over, and of backends when they change: outcome, access log, metrics, events."""
