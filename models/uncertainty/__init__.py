"""How far predictions can be trusted: intervals, bounds, and the limits of what was learned."""
