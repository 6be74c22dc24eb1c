"""HTTP/1.1: heads and framing as values, the server side towards clients, the client side towards backends."""
