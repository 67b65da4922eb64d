"""Search spaces: what may be tuned of each optimizer, in which range, and why."""
