"""Makes ``twistd lbproxy`` known. Any Twisted program on the machine may import this file, so it imports next to nothing."""

from twisted.application.service import ServiceMaker

lbproxy = ServiceMaker(
    "lbproxy",
    "lbproxy.tap",
    "A layer-7 load balancer for HTTP.",
    "lbproxy",
)
