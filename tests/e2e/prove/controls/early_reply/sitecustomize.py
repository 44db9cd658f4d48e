"""The negative control of the durability proof: a gateway that answers 250 before the commit.

Put on PYTHONPATH by ``kill.py --early-reply`` only. The proof must find lost mail in such a build, or it proves nothing.
"""

import asyncio

try:
    from gateway.pipeline import Pipeline
    from gateway.reply import Reply
except ImportError:
    Pipeline = None  # an interpreter that does not run the gateway

if Pipeline is not None:
    honest = Pipeline.handle
    under_way = set()

    async def handle(self, tx, content):
        """Answers at once and commits a moment later."""

        async def later():
            await asyncio.sleep(0.2)
            await honest(self, tx, content)

        task = asyncio.get_running_loop().create_task(later())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return Reply(250, "2.0.0", f"accepted {tx.reference}")

    Pipeline.handle = handle
