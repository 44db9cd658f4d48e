"""A negative control: doors that answer before the commit, SMTP with 250, the milter with what the commit would have said. The count must
find what was promised at each and is nowhere."""

import asyncio

try:
    from gateway.doors.peers import KeeperLink
    from gateway.envelope import Door
    from gateway.reply import Reply
    from gateway.requests import Committed
    from gateway.verdict import Disposition
except ImportError:
    KeeperLink = None  # an interpreter that does not run the gateway

if KeeperLink is not None:
    honest = KeeperLink.commit
    under_way = set()

    async def commit(self, tx, verdict, content):
        """Says at once that it is durable, and asks for it a moment later."""

        async def later():
            await asyncio.sleep(0.2)
            await honest(self, tx, verdict, content)

        task = asyncio.get_running_loop().create_task(later())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        going = (one.address for one in verdict.recipients if one.disposition is Disposition.DELIVER)
        passed = tuple(going) if tx.door is Door.MILTER else ()
        return Committed(Reply(250, "2.0.0", f"accepted {tx.reference}"), tx.reference, passed)

    KeeperLink.commit = commit
