"""A twisted.web site with lbproxy's certificates: one for each name, read anew when their files change.

    python examples/certificates_for_a_site.py PORT CERTIFICATE [CERTIFICATE …]

serves a page over TLS on PORT. A CERTIFICATE is a PEM file with a key and its certificates, a pair of such files as
CERTIFICATES,KEY, or a directory of these. Nothing here balances anything: the store goes with every endpoint of Twisted's that
takes an ``IOpenSSLServerConnectionCreator``.
"""

import sys

from lbproxy import CertificateStore, CertificateWatch
from lbproxy.errors import ConfigurationError
from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site


class Page(Resource):
    """Says hello, and for which name."""

    isLeaf = True

    def render_GET(self, request) -> bytes:
        """Called for each request."""
        return b"hello from " + request.getRequestHostname() + b"\n"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: certificates_for_a_site.py PORT CERTIFICATE [CERTIFICATE …]")
    try:
        store = CertificateStore(sys.argv[2:])
    except ConfigurationError as error:
        sys.exit(str(error))
    # Looks at the files every 10 s, warns of certificates that are about to expire, and changes the keys of tickets.
    watch = CertificateWatch(store, reactor, 10)
    watch.start()
    listening = SSL4ServerEndpoint(reactor, int(sys.argv[1]), store, interface="127.0.0.1").listen(Site(Page()))
    listening.addCallback(lambda port: print(f"listening on https://127.0.0.1:{port.getHost().port}/", flush=True))
    reactor.run()
