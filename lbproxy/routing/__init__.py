"""Which way an exchange takes: routes, what they match, the filters on the way, and where it leads."""
