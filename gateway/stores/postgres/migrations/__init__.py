"""The steps from one format of the store in PostgreSQL to the next, one file a step, by alembic.

What it is: alembic's script folder. A new database is made in the newest format, so there is no step to the first one: the first
step here has ``down_revision = None`` and leads to the format after the one that this package began with (5).
Who calls it: ``upgrade``.
Must never: take away or change what nodes of the version before still use, while ``OLDEST_CODE`` says that they may run.
Source: https://alembic.sqlalchemy.org/en/latest/ops.html

Nodes are upgraded one after the other, so a step runs while older nodes write. A step only adds (tables, columns with a default,
indexes made CONCURRENTLY by hand beforehand where the table is big). ``OLDEST_CODE`` in its module is the oldest format whose code may
go on: of what a later release takes away, the number rises in the release after the last one that used it.
"""
