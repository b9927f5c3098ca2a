"""The database: the embedded server or a MongoDB of yours, and everything kept in it."""
