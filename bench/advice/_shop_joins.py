"""The same shop: joins, subqueries, what refers to what, expressions, parts of a table."""

from bench.advice._case import Case, any_order, either_way, partial

ITEMS_ORDER, ORDERS_CUSTOMER = "order_items (order_id)", "orders (customer_id)"
CASES = (
    Case(
        "order with items",
        "join",
        "SELECT o.id, i.product_id, i.quantity FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.id = 88888",
        (ITEMS_ORDER,),
    ),
    Case(
        "customer by mail, with orders",
        "join",
        "SELECT o.id, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.email = 'user.30001@mail1.example'",
        (ORDERS_CUSTOMER,),
    ),
    Case(
        "customer, orders and items",
        "join",
        "SELECT i.* FROM customers c JOIN orders o ON o.customer_id = c.id JOIN order_items i ON i.order_id = o.id WHERE c.id = 50001",
        ((ORDERS_CUSTOMER, ITEMS_ORDER),),
    ),
    Case(
        "products of a category",
        "join",
        "SELECT p.name FROM categories k JOIN products p ON p.category_id = k.id WHERE k.id = 9000",
        ("products (category_id)",),
    ),
    Case(
        "children of a category",
        "join",
        "SELECT c.id, c.title FROM categories c JOIN categories p ON p.id = c.parent_id WHERE p.id = 4000",
        ("categories (parent_id)",),
    ),
    Case(
        "last order of each friend",
        "lateral join",
        "SELECT c.id, l.placed_at FROM customers c LEFT JOIN LATERAL "
        "(SELECT o.placed_at FROM orders o WHERE o.customer_id = c.id ORDER BY o.placed_at DESC LIMIT 1) l ON true"
        " WHERE c.id BETWEEN 100 AND 120",
        (*either_way("orders", ["customer_id"], "placed_at"), ORDERS_CUSTOMER),
    ),
    Case(
        "has returned something",
        "EXISTS",
        "SELECT o.id FROM orders o WHERE o.id BETWEEN 5000 AND 5050 AND EXISTS "
        "(SELECT 1 FROM order_items i WHERE i.order_id = o.id AND i.is_returned)",
        (
            ITEMS_ORDER,
            *any_order("order_items", "order_id", "is_returned"),
            "order_items (order_id) WHERE is_returned",
            "order_items (is_returned)",
        ),
    ),
    Case(
        "count in a select list",
        "subquery",
        "SELECT c.id, (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.id IN (40000, 41000)",
        (ORDERS_CUSTOMER,),
    ),
    Case(
        "bought by phone",
        "subquery",
        "SELECT * FROM orders WHERE customer_id = (SELECT id FROM customers WHERE email = 'User.4@mail4.example')",
        (ORDERS_CUSTOMER,),
    ),
    Case(
        "recent of one customer",
        "CTE",
        "WITH mine AS (SELECT * FROM orders WHERE customer_id = 33333) SELECT status, count(*) FROM mine GROUP BY status",
        (ORDERS_CUSTOMER,),
    ),
    Case(
        "mark as paid",
        "UPDATE",
        "UPDATE orders SET paid_at = now() WHERE tracking_code = 'TRK000048271'",
        ("orders (tracking_code)", "orders USING hash (tracking_code)"),
    ),
    Case(
        "stock of a sku, $n",
        "UPDATE",
        "UPDATE products SET stock = stock - $1 WHERE sku = $2",
        ("products (sku)", "products USING hash (sku)"),
        values="1, 'SKU-0007919'",
    ),
    Case("empty an order", "DELETE", "DELETE FROM order_items WHERE order_id = 4242", (ITEMS_ORDER,)),
    Case(
        "delete an order",
        "referenced key",
        "DELETE FROM orders WHERE id = 188931",
        (ITEMS_ORDER,),
        is_unseen_by_plan=True,
    ),
    Case(
        "delete a customer, $1",
        "referenced key",
        "DELETE FROM customers WHERE id = $1",
        (ORDERS_CUSTOMER,),
        values="55010",
        is_unseen_by_plan=True,
    ),
    Case(
        "orders through a view",
        "view",
        "SELECT order_id, total FROM customer_orders WHERE customer_id = 45678",
        (ORDERS_CUSTOMER,),
    ),
    Case(
        "mail in small letters",
        "lower()",
        "SELECT id, full_name FROM customers WHERE lower(email) = 'user.4000@mail0.example'",
        ("customers (lower(email))", "customers USING hash (lower(email))"),
        narrow=("customers (email)",),
    ),
    Case(
        "mail in small letters, $1",
        "lower()",
        "SELECT id FROM customers WHERE lower(email) = lower($1)",
        ("customers (lower(email))", "customers USING hash (lower(email))"),
        values="'User.4000@mail0.example'",
    ),
    Case(
        "gross price",
        "expression",
        "SELECT id FROM orders WHERE (total * 1.19) > 1070",
        ("orders ((total * 1.19))",),
    ),
    Case(
        "not yet paid",
        "partial: IS NULL",
        "SELECT id, customer_id, total FROM orders WHERE paid_at IS NULL",
        (
            "orders (paid_at)",
            *partial("orders", "paid_at IS NULL", "id", "paid_at", "placed_at", "customer_id"),
        ),
    ),
    Case(
        "very important",
        "partial: boolean",
        "SELECT id, full_name FROM customers WHERE is_vip",
        ("customers (is_vip)", *partial("customers", "is_vip", "id", "is_vip")),
    ),
    Case(
        "disputed",
        "partial: rare literal",
        "SELECT * FROM orders WHERE status = 'disputed'",
        ("orders (status)", *partial("orders", "status = 'disputed'", "status", "id", "placed_at")),
        wide=("orders (status, placed_at)",),
    ),
    Case(
        "coupon or tracking code",
        "OR",
        "SELECT id FROM orders WHERE coupon = 'CPN3900' OR tracking_code = 'TRK000096542'",
        (
            ("orders (coupon)", "orders (tracking_code)"),
            ("orders (coupon) WHERE coupon IS NOT NULL", "orders (tracking_code)"),
        ),
        narrow=("orders (coupon)", "orders (tracking_code)"),
    ),
    Case(
        "a hot product's sales",
        "covering",
        "SELECT sum(quantity) FROM order_items WHERE product_id = 77",
        ("order_items (product_id) INCLUDE (quantity)", "order_items (product_id, quantity)"),
        narrow=("order_items (product_id)",),
    ),
    Case(
        "a customer's last order",
        "min and max",
        "SELECT max(placed_at) FROM orders WHERE customer_id = 3",
        (*either_way("orders", ["customer_id"], "placed_at"), "orders (customer_id) INCLUDE (placed_at)"),
        narrow=("orders (placed_at)",),
    ),
    Case(
        "the dearest product",
        "min and max",
        "SELECT max(price) FROM products",
        ("products (price)", "products (price DESC)"),
    ),
    Case(
        "by kind of a quoted table",
        "quoted names",
        'SELECT "Id" FROM "Legacy Orders" WHERE "customerId" = 4500',
        ('"Legacy Orders" ("customerId")',),
    ),
    Case(
        "newest of a quoted table",
        "quoted names",
        'SELECT "Id" FROM "Legacy Orders" ORDER BY "Created At" DESC LIMIT 10',
        ('"Legacy Orders" ("Created At")', '"Legacy Orders" ("Created At" DESC)'),
    ),
)
