from app.core.db import Database
from app.core.monitor import APPLICATION_NAME, MonitorServer, connections


async def test_every_client_but_the_monitor_is_counted(server: MonitorServer, database: Database) -> None:
    async with database.connect():
        found = await server.put(connections)
    names = {group.application for group in found.groups}
    assert "gatehouse" in names
    assert APPLICATION_NAME not in names
    assert 0 < found.used <= found.usable


async def test_a_transaction_that_idles_is_found(server: MonitorServer, database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("SELECT 1")
        async with server.ask() as asked:
            found = await connections(asked, idle_in_transaction_s=0)
    assert "connections.idle_in_transaction" in {finding.check for finding in found.findings}


async def test_a_server_that_is_nearly_full_is_told(server: MonitorServer) -> None:
    async with server.ask() as asked:
        found = await connections(asked, warn_percent=0.0)
    assert [finding.subject for finding in found.findings] == ["max_connections"]
