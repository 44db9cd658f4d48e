"""The trusted room's memory: rows, schema, and one file for each kind of database. Only the keeper imports it."""
