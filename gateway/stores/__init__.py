"""The trusted room's memory: what every store is, its rows, and a folder for each kind of database. Only the keeper imports it."""
