"""A schema with every kind of index that the monitor has an opinion about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

SCHEMA = "shelf"
_TABLES = """
CREATE SCHEMA shelf;
CREATE TABLE shelf.authors (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE);
CREATE TABLE shelf.books (
    id int PRIMARY KEY, author_id int REFERENCES shelf.authors, editor_id int REFERENCES shelf.authors, translator_id int,
    title text, isbn text, note text, CONSTRAINT fk_translator FOREIGN KEY (translator_id) REFERENCES shelf.authors
) WITH (autovacuum_enabled = false, autovacuum_vacuum_threshold = 7, autovacuum_vacuum_scale_factor = 0.5);
INSERT INTO shelf.authors SELECT n, 'author ' || n, n || '@example.com' FROM generate_series(1, 50) n;
INSERT INTO shelf.books (id, author_id, title, isbn) SELECT n, n % 50 + 1, 'title ' || n, 'isbn' FROM generate_series(1, 3000) n;

CREATE INDEX books_title ON shelf.books (title);
CREATE INDEX books_title_again ON shelf.books (title);
CREATE INDEX books_title_down ON shelf.books (title DESC);
CREATE INDEX books_title_pattern ON shelf.books (title text_pattern_ops);
CREATE INDEX books_title_hash ON shelf.books USING hash (title);
CREATE INDEX books_isbn ON shelf.books (isbn);
CREATE INDEX books_isbn_title ON shelf.books (isbn, title);
CREATE INDEX books_isbn_some ON shelf.books (isbn) WHERE title = 'a secret title';
CREATE INDEX books_isbn_carrying ON shelf.books (isbn) INCLUDE (note);
CREATE UNIQUE INDEX books_id_once_more ON shelf.books (id);
CREATE INDEX books_lower ON shelf.books (lower(title));
CREATE INDEX books_lower_again ON shelf.books ( lower( title ) );
CREATE INDEX books_editor ON shelf.books (editor_id) WHERE editor_id IS NOT NULL;
CREATE INDEX books_translator ON shelf.books (translator_id);
CREATE UNIQUE INDEX authors_email_again ON shelf.authors (email);

CREATE TABLE shelf.visits (at date NOT NULL, book_id int REFERENCES shelf.books, place text) PARTITION BY RANGE (at);
CREATE TABLE shelf.visits_old PARTITION OF shelf.visits FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE shelf.visits_new PARTITION OF shelf.visits FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE INDEX visits_place ON shelf.visits (place);
CREATE INDEX visits_place_at ON shelf.visits (place, at);
INSERT INTO shelf.visits SELECT date '2020-01-01' + n, n, 'here' FROM generate_series(1, 700) n;
CREATE TABLE shelf."Odd.Na""me" (a int, b text);
INSERT INTO shelf."Odd.Na""me" SELECT n, repeat('x', n) FROM generate_series(1, 100) n;
DELETE FROM shelf.books WHERE id > 2000;
DELETE FROM shelf.authors WHERE id > 50;
ANALYZE shelf.authors, shelf.books, shelf.visits, shelf."Odd.Na""me";
"""


@asynccontextmanager
async def shelf(url: str) -> AsyncIterator[None]:
    """The schema, and no trace of it afterwards."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(_TABLES)
        with suppress(asyncpg.UniqueViolationError):  # This is how an invalid index comes to be.
            await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY books_isbn_once ON shelf.books (isbn)")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        yield
    finally:
        await connection.execute("DROP SCHEMA IF EXISTS shelf CASCADE")
        await connection.close()
