"""TLS with clients and with backends: certificates and their names, sessions on our own wires, verification."""
