"""The decision log read from PostgreSQL.

What it is: ``PostgresAudit``, the reading of audit rows, signed heads and closing heads.
Who calls it: ``reading``; ``reviewing`` counts from the same rows.
Must never: write; page over a row that an open transaction of another node may still put before it.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from gateway.stores import rows
from gateway.stores.audit_conditions import LogSearch, Ways, statement
from gateway.stores.base import AuditRow, HeadRow
from gateway.stores.postgres.asking import Asking
from gateway.stores.postgres.tables import SETTLED

# One look-up a chain through the index of chains and numbers: there are few chains, and many rows.
_CHAINS = (
    "WITH RECURSIVE c (chain) AS ((SELECT chain FROM audit ORDER BY chain LIMIT 1) UNION ALL SELECT (SELECT a.chain FROM audit a"
    " WHERE a.chain > c.chain ORDER BY a.chain LIMIT 1) FROM c WHERE c.chain IS NOT NULL) SELECT chain FROM c WHERE chain IS NOT NULL"
    " UNION SELECT chain FROM heads UNION SELECT chain FROM closings"
)


def same(column: str) -> str:
    """That *column* is the parameter but for the case of ASCII letters, as SQLite's NOCASE has it (the columns are of the collation C)."""
    return f'lower({column}) = lower(%s::text COLLATE "C")'


_WAYS = Ways(
    "%s", same, lambda column: f'strpos(lower({column}), lower(%s::text COLLATE "C")) > 0',
    lambda column, wanted: (f"{column} = ANY(%s::text[])", list(wanted)), SETTLED,
)  # fmt: skip


class PostgresAudit:
    """See ``base.Store``; each method raises StoreError as it says."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def audit_head(self, chain: str) -> AuditRow | None:
        """The last row of a chain."""
        return await self._asking.one(rows.SELECT_AUDIT + " WHERE chain = %s ORDER BY seq DESC LIMIT 1", (chain,), rows.audit_row)

    async def audit_chains(self) -> list[str]:
        """The names of all chains that have a row, a signed head or a closing head."""
        return sorted(await self._asking.all(_CHAINS, (), lambda v: str(v[0])))

    async def audit_rows(
        self, *, chain: str = "", after: int = 0, limit: int = 1000, reference: str = "", within: frozenset[str] | None = None
    ) -> list[AuditRow]:
        """Rows in chain order after sequence number *after*; *within*: of these departments only."""
        where, values = ["seq > %s"], [after]  # type: tuple[list[str], list[object]]
        for column, value in (("chain", chain), ("reference", reference)):
            if value:
                where.append(f"{column} = %s")
                values.append(value)
        if within is not None:
            where.append("department = ANY(%s::text[])")
            values.append(sorted(within))
        sql = f"{rows.SELECT_AUDIT} WHERE {' AND '.join(where)} ORDER BY chain, seq LIMIT %s"
        return await self._asking.all(sql, (*values, limit), rows.audit_row)

    async def audit_ages(self, chain: str, after: int, limit: int) -> list[tuple[int, float, str]]:
        """See ``Store.audit_ages``."""
        sql = "SELECT seq, created, hash FROM audit WHERE chain = %s AND seq > %s ORDER BY seq LIMIT %s"
        return await self._asking.all(sql, (chain, after, limit), lambda v: (int(v[0]), float(v[1]), str(v[2])))

    async def signed_heads(self, chain: str = "") -> list[HeadRow]:
        """The signed heads of one chain (of all), oldest first."""
        where, values = (" WHERE chain = %s", (chain,)) if chain else ("", ())
        return await self._asking.all(f"{rows.SELECT_HEAD}{where} ORDER BY chain, seq", values, rows.head_row)

    async def closings(self, chain: str = "") -> list[HeadRow]:
        """See ``Store.closings``."""
        where, values = (" WHERE chain = %s", (chain,)) if chain else ("", ())
        return await self._asking.all(f"{rows.SELECT_CLOSING}{where} ORDER BY chain", values, rows.head_row)

    async def search_audit(
        self, *, text: str = "", sender: str = "", recipient: str = "", rule: str = "", since: float = 0, until: float = 0,
        limit: int = 1000, after: int = 0, before: int = 0, within: frozenset[str] | None = None,
    ) -> list[AuditRow]:  # fmt: skip
        """See ``Store.search_audit``."""
        sought = LogSearch(
            text=text, sender=sender, recipient=recipient, rule=rule, since=since, until=until, limit=limit, after=after, before=before,
            within=within,
        )  # fmt: skip
        return await self._asking.all(*statement(sought, _WAYS), rows.audit_row)
