"""Taking in finished runs, NearEdge's own and those of others, from folders and archives."""
