"""Usage and cost of teams in each month, and the limits that operators set."""
