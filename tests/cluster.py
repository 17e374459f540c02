"""A real Valkey in Cluster mode: one node that owns all slots. What uses keys of two slots in one script fails there."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from app.core.valkey import ValkeyClient
from app.dev import EmbeddedValkey
from tests.servers import PrivateServer, new_folder


class ClusterNode(EmbeddedValkey):
    """One node; it owns every slot once it was told to."""

    def command(self) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]  # several runs may have a node at once
        return [*super().command(), "--cluster-enabled", "yes", "--cluster-port", str(port)]


@contextmanager
def running_node() -> Iterator[PrivateServer]:
    """A node, without slots as yet."""
    folder = new_folder()
    server = ClusterNode(folder / "valkey", durable=False)
    server.start()
    yield PrivateServer(server, server.url)
    server.kill()
    shutil.rmtree(folder)


@asynccontextmanager
async def empty_cluster(node: PrivateServer) -> AsyncIterator[ValkeyClient]:
    """A client of the node, which serves all slots and holds nothing."""
    client = ValkeyClient(node.url, timeout_s=2.0)
    await own_all_slots(client)
    await client.execute("FLUSHALL")
    yield client
    await client.close()


async def own_all_slots(client: ValkeyClient) -> None:
    """Make the node a whole Cluster; returns when it serves."""
    if b"cluster_slots_assigned:16384" not in await client.execute("CLUSTER", "INFO"):
        await client.execute("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    for _ in range(1000):
        if b"cluster_state:ok" in await client.execute("CLUSTER", "INFO"):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("the node serves no slots")
