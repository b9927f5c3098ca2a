// Runs once, while the database's volume is still empty: a user that may read and write NearEdge's
// two databases and nothing else, and one that may read the spectra and nothing else. Passwords come
// from the environment; there is no default.
const name = process.env.NEAREDGE_DATABASE;
const password = process.env.NEAREDGE_MONGO_PASSWORD;
const readerPassword = process.env.NEAREDGE_MONGO_READER_PASSWORD;
if (!name || !password || !readerPassword) {
  throw new Error(
    "NEAREDGE_DATABASE, NEAREDGE_MONGO_PASSWORD and NEAREDGE_MONGO_READER_PASSWORD must be set"
  );
}
db.getSiblingDB(name).createUser({
  user: "nearedge",
  pwd: password,
  roles: [
    { role: "readWrite", db: name },
    { role: "readWrite", db: `${name}_launchpad` },
  ],
});
db.getSiblingDB(name).createUser({
  user: "reader",
  pwd: readerPassword,
  roles: [{ role: "read", db: name }],
});
