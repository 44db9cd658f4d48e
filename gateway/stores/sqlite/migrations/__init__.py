"""The steps between two formats of the store, one file a step: alembic's scripts.

What it is: ``m0001_first.py``, ``m0002_….py`` and so on. A step has ``revision`` ("0002"), ``down_revision`` ("0001"), ``upgrade()``
and ``downgrade()``, written with ``alembic.op``. The number of the revision is the format of the store: schema.VERSION, ``PRAGMA
user_version`` and the row of ``alembic_version`` all say the same.
Who calls it: ``sqlite.upgrade``, which loads the files by their path when there is a step to do; nobody imports them.
Must never: import ``stores.schema`` (a step says what was true when it was written); change once it has been released; do more
than add, so that the version before can read the mail of a store that was taken down again.
Source: https://alembic.sqlalchemy.org/en/latest/ops.html

A new format is three things: the table in ``schema.py``, ``schema.VERSION`` one higher, and the step here. ``test_migrations``
proves that a new store and one that took all steps are the same.
"""
