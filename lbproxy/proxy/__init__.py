"""One exchange's way: attempts, retry rules, header fields, relay with backpressure, upstream connections."""
