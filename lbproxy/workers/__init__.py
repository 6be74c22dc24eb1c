"""One load balancer of several processes: a supervisor, that decides, and its workers, that carry exchanges."""
