-- Rows, the same in every run: random() after setseed(). u^3 makes a few values frequent and many rare.
SELECT setseed(0.6180339887);
SET synchronous_commit = off;

CREATE TEMPORARY VIEW words AS
    SELECT array_agg(a || b || c ORDER BY a, b, c) AS w
    FROM unnest('{ba,de,fi,go,hu,ka,le,mi,no,pu,ra,se}'::text[]) a, unnest('{lar,mon,net,pil,qua,rov,sti,tun,vex,win,yor,zed}'::text[]) b,
         unnest('{a,en,is,or,um,eth,ix,oda,ule,ant,ery,ong}'::text[]) c;

INSERT INTO countries SELECT 'C' || i, 'Country ' || i, 'Region ' || i % 7, (i % 25) FROM generate_series(1, 220) i;
INSERT INTO plans VALUES (1, 'free', 0), (2, 'team', 900), (3, 'business', 2900), (4, 'enterprise', 9900);
INSERT INTO feature_flags SELECT i, 'flag_' || i, i % 3 = 0, 'team ' || i % 5 FROM generate_series(1, 60) i;

INSERT INTO customers
    SELECT i, CASE WHEN i % 4 = 0 THEN 'User.' ELSE 'user.' END || i || '@mail' || i % 40 || '.example', w.w[1 + i % 1728] || ' ' || w.w[1 + (i * 7) % 1713],
           'C' || 1 + floor(220 * random() ^ 4)::int, w.w[1 + floor(1728 * random() ^ 2)::int],
           CASE WHEN random() < 0.8 THEN '+' || (100000000 + floor(899999999 * random()))::bigint END,
           random() > 0.03, random() < 0.004, CASE WHEN random() < 0.1 THEN 1 + floor(60000 * random())::int END,
           (100 * floor(100 * random() ^ 3))::numeric, date '1950-01-01' + floor(20000 * random())::int,
           timestamptz '2020-01-01Z' + interval '1 minute' * (i * 50 + floor(3000 * random())), repeat('n', (80 * random())::int)
    FROM generate_series(1, 60000) i, words w;

INSERT INTO categories
    SELECT i, CASE WHEN i > 20 THEN 1 + floor((i - 1) * random() ^ 1.5)::int END, 'root/' || i % 20 || '/' || i, w.w[1 + i % 1728]
    FROM generate_series(1, 12000) i, words w;

INSERT INTO products
    SELECT i, 'SKU-' || lpad((i * 7919 % 1000003)::text, 7, '0'), name, 1 + floor(12000 * u ^ 2)::int, 'brand ' || floor(600 * random() ^ 2.5)::int,
           round((5 + 2000 * random() ^ 4)::numeric, 2), floor(500 * random() ^ 2)::int, random() < 0.02,
           ARRAY[w.w[1 + floor(1728 * random() ^ 3)::int], w.w[1 + floor(1728 * random())::int]],
           jsonb_build_object('color', (ARRAY['black','white','red','blue','teal','ochre'])[1 + floor(6 * random() ^ 2)::int],
                              'weight', floor(3000 * random()), 'maker', jsonb_build_object('code', 'M' || floor(3000 * random() ^ 1.5))),
           name || ' ' || w.w[1 + floor(1728 * random())::int] || repeat(' lorem', (10 * random())::int),
           to_tsvector('simple', name || ' ' || w.w[1 + floor(1728 * random())::int]),
           timestamptz '2021-01-01Z' + interval '1 minute' * floor(2500000 * random())
    FROM (SELECT i, random() AS u, w.w[1 + floor(1728 * random() ^ 2)::int] || ' ' || w.w[1 + floor(1728 * random())::int] AS name
          FROM generate_series(1, 60000) i, words w OFFSET 0) p, words w;

INSERT INTO orders
    SELECT i, 1 + floor(60000 * random() ^ 2)::int,
           CASE WHEN s < 0.90 THEN 'completed' WHEN s < 0.95 THEN 'shipped' WHEN s < 0.98 THEN 'pending' WHEN s < 0.9985 THEN 'cancelled'
                WHEN s < 0.9992 THEN 'disputed' ELSE 'refunded' END,
           floor(4 * random() ^ 2)::int, floor(12 * random())::int, round((3 + 900 * random() ^ 3)::numeric, 2),
           CASE WHEN random() < 0.05 THEN 'CPN' || floor(4000 * random() ^ 2) END, 'TRK' || lpad((i::bigint * 48271 % 9999991)::text, 9, '0'),
           timestamptz '2025-01-01Z' + interval '1 second' * (i * 120 + floor(600 * random())),
           CASE WHEN random() > 0.006 THEN timestamptz '2025-01-01Z' + interval '1 second' * (i * 120 + 4000) END,
           CASE WHEN random() > 0.12 THEN timestamptz '2025-01-02Z' + interval '1 second' * (i * 120 + floor(400000 * random())) END,
           repeat('c', (100 * random())::int)
    FROM (SELECT i, random() AS s FROM generate_series(1, 300000) i OFFSET 0) o;

INSERT INTO order_items
    SELECT i, 1 + floor(300000 * random())::int, CASE WHEN random() < 0.06 THEN 77 ELSE 1 + floor(60000 * random() ^ 2)::int END, 1 + floor(9 * random() ^ 4)::int,
           round((3 + 300 * random() ^ 3)::numeric, 2), random() < 0.003
    FROM generate_series(1, 500000) i;

INSERT INTO tickets
    SELECT i, 1 + floor(250 * random() ^ 2)::int, CASE WHEN random() < 0.85 THEN 1 + floor(3000 * random() ^ 2)::int END, 1 + floor(20000 * random())::int,
           CASE WHEN s < 0.96 THEN 'closed' WHEN s < 0.985 THEN 'open' WHEN s < 0.997 THEN 'waiting' ELSE 'escalated' END, 1 + floor(5 * random() ^ 2)::int,
           w.w[1 + floor(1728 * random() ^ 2)::int] || ' ' || w.w[1 + floor(1728 * random())::int] || ' ' || w.w[1 + floor(1728 * random())::int],
           'EXT-' || lpad((i::bigint * 7907 % 999983)::text, 6, '0') || '-' || i % 7,
           ARRAY[w.w[1 + floor(900 * random() ^ 3)::int], 'l' || floor(3000 * random())],
           timestamptz '2024-01-01Z' + interval '1 second' * (i * 400 + floor(50000 * random())),
           timestamptz '2024-01-01Z' + interval '1 second' * floor(64000000 * random()),
           CASE WHEN random() < 0.4 THEN timestamptz '2024-02-01Z' + interval '1 second' * floor(64000000 * random()) END,
           CASE WHEN s < 0.96 THEN timestamptz '2024-02-01Z' + interval '1 second' * floor(64000000 * random()) END
    FROM (SELECT i, random() AS s FROM generate_series(1, 160000) i OFFSET 0) t, words w;

INSERT INTO messages
    SELECT i, 1 + floor(25000 * random() ^ 1.5)::int, 1 + floor(8000 * random() ^ 2)::int, 1 + floor(8000 * random())::int,
           w.w[1 + floor(1728 * random() ^ 2)::int] || ' ' || w.w[1 + floor(1728 * random())::int] || ' ' || repeat('text ', (20 * random())::int) || w.w[1 + floor(1728 * random())::int],
           timestamptz '2025-06-01Z' + interval '1 second' * (i * 60 + floor(100 * random())),
           CASE WHEN random() > 0.015 THEN timestamptz '2025-06-02Z' + interval '1 second' * (i * 60) END,
           CASE WHEN random() < 0.08 THEN timestamptz '2025-06-03Z' + interval '1 second' * (i * 60) END
    FROM generate_series(1, 220000) i, words w;

INSERT INTO events
    SELECT i, 1 + floor(300 * random() ^ 2)::int,
           CASE WHEN k < 0.85 THEN 'page_view' WHEN k < 0.97 THEN 'click' WHEN k < 0.995 THEN 'signup' WHEN k < 0.9993 THEN 'purchase' ELSE 'chargeback' END,
           md5((i / 5)::text)::uuid, 1 + floor(20000 * random() ^ 1.5)::int,
           jsonb_build_object('path', '/p/' || floor(4000 * random() ^ 2), 'ms', floor(900 * random()), 'ref', 'r' || floor(20000 * random())),
           timestamptz '2026-01-01Z' + interval '1 second' * (i * 43 + floor(40 * random()))
    FROM (SELECT i, random() AS k FROM generate_series(1, 240000) i OFFSET 0) e;

INSERT INTO audit_log
    SELECT i, timestamptz '2025-01-01Z' + interval '1 second' * i * 100, 1 + floor(2000 * random() ^ 2)::int,
           (ARRAY['order','ticket','invoice','user','token'])[1 + floor(5 * random() ^ 2)::int], 1 + floor(60000 * random())::int,
           (ARRAY['update','read','create','delete','export'])[1 + floor(5 * random() ^ 3)::int], repeat('d', (60 * random())::int)
    FROM generate_series(1, 200000) i;

INSERT INTO logins
    SELECT i, 'user' || floor(30000 * random() ^ 2), ('10.' || floor(64 * random()) || '.' || floor(256 * random()) || '.' || floor(256 * random()))::inet,
           random() > 0.02, 'agent ' || floor(300 * random() ^ 3), timestamptz '2025-09-01Z' + interval '1 second' * (i * 50 + floor(40 * random()))
    FROM generate_series(1, 130000) i;

INSERT INTO documents
    SELECT i, 1 + floor(5000 * random() ^ 2)::int, w.w[1 + floor(1728 * random() ^ 2)::int] || ' ' || w.w[1 + floor(1728 * random())::int],
           w.w[1 + floor(1728 * random())::int] || repeat(' ipsum dolor', (8 * random())::int) || ' ' || w.w[1 + floor(1728 * random() ^ 2)::int] || ' ' || w.w[1 + floor(1728 * random())::int],
           jsonb_build_object('type', (ARRAY['note','contract','report','memo'])[1 + floor(4 * random() ^ 3)::int], 'author', 'a' || floor(4000 * random() ^ 2),
                              'score', floor(1000 * random()), 'labels', jsonb_build_array('t' || floor(800 * random() ^ 2), 'k' || floor(5000 * random())),
                              'meta', jsonb_build_object('source', 's' || floor(2000 * random()))) || CASE WHEN random() < 0.004 THEN '{"legal_hold": true}' ELSE '{}' END::jsonb,
           1 + floor(12 * random() ^ 3)::int, timestamptz '2023-01-01Z' + interval '1 second' * floor(90000000 * random())
    FROM generate_series(1, 70000) i, words w;

INSERT INTO bookings
    SELECT i, 1 + floor(400 * random())::int, 1 + floor(20000 * random())::int,
           tstzrange(s, s + interval '1 hour' * (1 + floor(72 * random()))), random() < 0.1, upper(substr(md5(i::text), 1, 10))
    FROM (SELECT i, timestamptz '2024-01-01Z' + interval '1 hour' * floor(20000 * random()) AS s FROM generate_series(1, 90000) i OFFSET 0) b;

INSERT INTO places
    SELECT i, w.w[1 + i % 1728] || ' ' || i, (ARRAY['cafe','shop','park','museum','airport'])[1 + floor(5 * random() ^ 3)::int], lat, lon, point(lon, lat), round((5 * random())::numeric, 1)
    FROM (SELECT i, 40 + 15 * random() AS lat, 5 + 20 * random() AS lon FROM generate_series(1, 70000) i OFFSET 0) p, words w;

INSERT INTO api_tokens
    SELECT i, 1 + floor(30000 * random() ^ 1.5)::int, md5('t' || i), random() < 0.3, (ARRAY['read','write','admin'])[1 + floor(3 * random() ^ 3)::int],
           timestamptz '2025-01-01Z' + interval '1 minute' * i, timestamptz '2025-01-01Z' + interval '1 minute' * (i + floor(400000 * random())),
           CASE WHEN random() < 0.7 THEN timestamptz '2025-06-01Z' + interval '1 minute' * floor(200000 * random()) END
    FROM generate_series(1, 100000) i;

INSERT INTO invoices
    SELECT i, 1 + floor(250 * random() ^ 2)::int, 'INV-' || lpad(i::text, 7, '0'), 'User.' || 1 + floor(60000 * random())::int || '@mail.example', 100 + floor(500000 * random() ^ 3)::int,
           (ARRAY['EUR','USD','GBP','SEK'])[1 + floor(4 * random() ^ 3)::int], date '2024-01-01' + i / 150, date '2024-01-31' + i / 150 + floor(20 * random())::int,
           CASE WHEN random() > 0.02 THEN timestamptz '2024-01-15Z' + interval '1 day' * (i / 150) END,
           CASE WHEN s < 0.93 THEN 'paid' WHEN s < 0.985 THEN 'sent' WHEN s < 0.996 THEN 'draft' ELSE 'written_off' END
    FROM (SELECT i, random() AS s FROM generate_series(1, 120000) i OFFSET 0) v;

INSERT INTO jobs
    SELECT i, 'q' || floor(8 * random() ^ 2), CASE WHEN s < 0.975 THEN 'done' WHEN s < 0.99 THEN 'failed' WHEN s < 0.998 THEN 'queued' ELSE 'running' END, floor(10 * random() ^ 3)::int,
           timestamptz '2026-01-01Z' + interval '1 second' * floor(8000000 * random()), floor(6 * random() ^ 4)::int,
           CASE WHEN s >= 0.998 THEN 'worker-' || floor(20 * random()) END, jsonb_build_object('n', i)
    FROM (SELECT i, random() AS s FROM generate_series(1, 130000) i OFFSET 0) j;

INSERT INTO "Legacy Orders"
    SELECT i, 1 + floor(9000 * random())::int, timestamptz '2019-01-01Z' + interval '1 minute' * floor(3000000 * random()), (ARRAY['web','fax','mail'])[1 + floor(3 * random() ^ 3)::int]
    FROM generate_series(1, 60000) i;

INSERT INTO billing.charges
    SELECT i, 1 + floor(12000 * random() ^ 2)::int, (ARRAY['alpha','beta','gamma'])[1 + floor(3 * random() ^ 2)::int], 'ch_' || md5(i::text), 50 + floor(90000 * random() ^ 3)::int,
           timestamptz '2025-01-01Z' + interval '1 second' * (i * 250 + floor(200 * random())), random() < 0.002
    FROM generate_series(1, 120000) i;
