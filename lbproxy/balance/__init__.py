"""Who takes this request? Backends, their state, pools and policies. Pure: no I/O, and no clock but one passed in."""
