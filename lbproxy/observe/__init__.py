"""What is said of exchanges when they are over: the outcome, the access log, the metrics."""
