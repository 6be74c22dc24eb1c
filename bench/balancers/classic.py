"""nginx and HAProxy."""

from __future__ import annotations

from bench.backends import nginx_user
from bench.balancers.base import (
    IDLE_A_BACKEND,
    KEEP_ALIVE,
    MOST_CONNECTIONS,
    Balancer,
    Launch,
    Order,
    installed,
    missing_program,
    program_version,
)
from bench.connecting import HOST
from bench.scenarios import HEALTH_INTERVAL

NGINX_CONFIG = """\
# On: one worker unless told otherwise, and then a socket for each of them (reuseport), as lbproxy has; keep-alive on both
# sides, X-Forwarded-For, stub_status, per-request failure counting
# (max_fails). Not on: health checks of its own accord, which this nginx does not have. Access log and WebSockets:
# only where measured. Buffers are as nginx has them by default; larger ones (8 of 64 KiB) cost less a 1 MiB body.
# TLS: only where measured, with session tickets, on by default, and no cache.
{user}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  access_log {access_log};
  sendfile on;
  tcp_nopush on;
  keepalive_timeout {keep_alive}s;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/client_body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream pool {{
{servers}
    keepalive {idle};
    keepalive_requests 1000000000;
    keepalive_timeout {keep_alive}s;
  }}
  server {{
    listen {host}:{port}{ssl}{reuseport} backlog=4096;
{certificate}
    location = /stub_status {{ stub_status; }}
    location / {{
      proxy_pass http://pool;
      proxy_http_version 1.1;
{connection}
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""

# What nginx is told of connections to backends: to keep them, or that whoever asks for an upgrade gets one.
NGINX_KEEPS = '      proxy_set_header Connection "";'
NGINX_UPGRADES = """\
      proxy_set_header Connection $http_connection;
      proxy_set_header Upgrade $http_upgrade;"""

NGINX_TLS = """\
    ssl_certificate {0};
    ssl_certificate_key {0};
    ssl_protocols TLSv1.2 TLSv1.3;"""

HAPROXY_CONFIG = """\
# On: one thread unless told otherwise, keep-alive on both sides, X-Forwarded-For, TCP health checks, its counters and Prometheus
# page. Access log: only where it is measured (option httplog, to standard output, which goes to a file). TLS: only
# where measured, with session tickets, on by default.
global
  nbthread {workers}
  maxconn {connections}
{log_target}
defaults
  mode http
  timeout connect 5s
  timeout client {keep_alive}s
  timeout server {keep_alive}s
  timeout http-keep-alive {keep_alive}s
  http-reuse always
  option forwardfor
{log_options}
frontend web
  bind {host}:{port}{ssl} backlog 4096
  default_backend pool
frontend metrics
  bind {host}:{admin_port}
  http-request use-service prometheus-exporter if {{ path /metrics }}
backend pool
  balance roundrobin
  default-server check inter {interval}s pool-purge-delay {keep_alive}s
{servers}
"""


def launch_nginx(order: Order) -> Launch:
    """Write nginx's configuration."""
    config = NGINX_CONFIG.format(
        user=nginx_user(),
        directory=order.directory,
        connections=2 * MOST_CONNECTIONS,
        access_log=f"{order.access_log} combined" if order.access_log else "off",
        keep_alive=KEEP_ALIVE,
        servers="\n".join(f"    server {backend};" for backend in order.backends),
        idle=max(IDLE_A_BACKEND, 4 * len(order.backends)),
        host=HOST,
        port=order.port,
        ssl=" ssl" if order.certificate else "",
        workers=order.workers,
        reuseport=" reuseport" if order.workers > 1 else "",
        certificate=NGINX_TLS.format(order.certificate) if order.certificate else "",
        connection=NGINX_UPGRADES if order.upgrades else NGINX_KEEPS,
    )
    path = order.write("nginx.conf", config)
    return Launch([installed("nginx"), "-p", str(order.directory), "-e", "stderr", "-c", path])


def launch_haproxy(order: Order) -> Launch:
    """Write HAProxy's configuration; ``-db`` keeps it in the foreground, as one process.

    It knows no log files, only syslog and its standard output: a shell sends that one to the file and gives
    way to it.
    """
    config = HAPROXY_CONFIG.format(
        workers=order.workers,
        connections=MOST_CONNECTIONS,
        log_target="  log stdout format raw local0" if order.access_log else "",
        log_options="  log global\n  option httplog" if order.access_log else "",
        keep_alive=KEEP_ALIVE,
        host=HOST,
        port=order.port,
        ssl=f" ssl crt {order.certificate} alpn http/1.1" if order.certificate else "",
        admin_port=order.admin_port,
        interval=HEALTH_INTERVAL,
        servers="\n".join(f"  server b{number} {backend}" for number, backend in enumerate(order.backends)),
    )
    command = [installed("haproxy"), "-db", "-f", order.write("haproxy.cfg", config)]
    if order.access_log:
        command = [
            "/bin/sh",
            "-c",
            'log=$1; shift; exec "$@" > "$log"',
            "sh",
            str(order.access_log),
            *command,
        ]
    return Launch(command)


NGINX = Balancer(
    "nginx",
    "nginx, one worker",
    launch_nginx,
    missing_program("nginx", "Debian: nginx"),
    program_version("nginx", "-v"),
)
HAPROXY = Balancer(
    "haproxy",
    "HAProxy, one thread",
    launch_haproxy,
    missing_program("haproxy", "Debian: haproxy"),
    program_version("haproxy", "-v"),
)
