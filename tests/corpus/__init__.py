"""Messages to test with: what must be refused, and what is unusual but right. Each has a name that says what is odd about it."""
