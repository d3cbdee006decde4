USE shop
--
CREATE TABLE kinds (id INT PRIMARY KEY, d DOUBLE, f FLOAT, dt DATETIME, da DATE, ts TIMESTAMP NULL, vc VARCHAR(20), vb VARBINARY(20),
  l1 VARCHAR(20) CHARACTER SET latin1, u4 VARCHAR(20), js JSON, bu BIGINT UNSIGNED, n INT, p INT AS (n * 2) PERSISTENT, v INT AS (n * 3) VIRTUAL,
  e ENUM('', 'a'), bi BIT(8), g POINT, long_text LONGTEXT, KEY by_n (n))
--
INSERT INTO kinds (id, d, f, dt, da, ts, vc, vb, l1, u4, js, bu, n, e, bi, g, long_text) VALUES
  (1, -0.0e0, -0.0e0, '0000-00-00 00:00:00', '2024-00-00', '2024-06-01 12:00:00', 'a ', x'6100', 'café', 'ünï ✓', '{"a": 1, "b": 2}',
   18446744073709551615, 4, '', 10, POINT(1, 2), REPEAT('a', 70000)),
  (2, 0.1, 0.1, '2024-06-01 12:00:00', '2024-01-31', NULL, '', '', '', NULL, '[]', 9223372036854775807, NULL, 'a', 0, NULL, NULL)
--
CREATE TABLE twins (a INT, b VARCHAR(9))
--
INSERT INTO twins VALUES (1, 'x'), (1, 'x'), (2, 'y'), (2, 'y'), (NULL, NULL)
--
CREATE TABLE parted (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id)
  (PARTITION p1 VALUES LESS THAN (10), PARTITION p2 VALUES LESS THAN (20), PARTITION p3 VALUES LESS THAN (30))
--
INSERT INTO parted VALUES (1, 1), (11, 2)
--
CREATE TRIGGER lines_b AFTER INSERT ON `lines` FOR EACH ROW INSERT INTO audit VALUES ('b', 1)
--
CREATE TRIGGER lines_a AFTER INSERT ON `lines` FOR EACH ROW INSERT INTO audit VALUES ('a', 1)
--
CREATE DEFINER = shop@'%' VIEW of_shop AS SELECT client FROM orders
--
GRANT SELECT (client), UPDATE (note) ON shop.orders TO shop@'%'
