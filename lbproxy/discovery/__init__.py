"""Discovery: members of a pool that are named elsewhere than in the configuration, and may change at any time."""
