UPDATE by_unsigned SET id = id - 1, v = REVERSE(v) WHERE id > 0
--
INSERT INTO by_unsigned VALUES (18446744073709551615, 'new')
--
DELETE FROM by_unsigned WHERE id = 0
--
UPDATE by_text SET id = CONCAT(id, 'é'), v = -v
--
UPDATE by_text SET id = UPPER(id) WHERE v = -1
--
DELETE FROM by_text WHERE id LIKE 'ж%'
--
UPDATE by_latin SET id = LOWER(id), n = n + 0.001, d = '0000-00-00' WHERE v < 4
--
DELETE FROM by_latin WHERE v = 4
--
UPDATE by_bytes SET id = CONCAT(id, x'00'), v = v + 10 ORDER BY LENGTH(id) DESC
--
DELETE FROM by_bytes WHERE v = 17
--
UPDATE by_wide SET id = CONCAT('x', id), v = COALESCE(v, 0) + 0.1
--
UPDATE by_time SET id = id + INTERVAL 1 MICROSECOND, v = '-838:59:59.99' WHERE v <> 0
--
UPDATE by_double SET id = id * 2, v = v + 1
--
DELETE FROM by_double WHERE id = 0
--
UPDATE by_nothing SET d = -0.0e0, bl = CONCAT(COALESCE(bl, ''), x'0a') WHERE a = 1 LIMIT 1
--
UPDATE by_nothing SET a = 7, n = 1 WHERE a IS NULL LIMIT 1
--
DELETE FROM by_nothing WHERE a = 2 AND b = 'a' LIMIT 1
--
INSERT INTO by_nothing SELECT * FROM by_nothing
--
UPDATE by_null SET v = 9 WHERE id IS NULL LIMIT 1
--
UPDATE by_null SET id = id + 5, v = 8 WHERE id IS NOT NULL
--
DELETE FROM by_null WHERE v = 2
--
UPDATE by_long_unique SET id = id + 10, t = CONCAT(t, 'c'), b = CONCAT('b', b)
--
INSERT INTO by_long_unique VALUES (1, REPEAT('a', 3000), REPEAT(x'00', 3000))
--
INSERT IGNORE INTO counted VALUES (500, 1)
--
INSERT INTO counted (v) VALUES (20), (21)
--
UPDATE counted SET id = id + 1, v = v + 100 ORDER BY id DESC
--
DELETE FROM counted WHERE v = 121
--
INSERT INTO counted_second (kind, v) VALUES (2, 20), (3, 30)
--
UPDATE p_range SET d = d + INTERVAL 20 YEAR, v = 'm' WHERE id < 4
--
DELETE FROM p_range WHERE id = 4
--
ALTER TABLE p_range DROP PARTITION p0
--
ALTER TABLE p_range REORGANIZE PARTITION pmax INTO (PARTITION p2 VALUES LESS THAN (2030), PARTITION pmax VALUES LESS THAN MAXVALUE)
--
UPDATE p_columns SET id = id + 4, v = v + 1 ORDER BY id DESC
--
UPDATE p_list SET id = id + 10, v = -v ORDER BY id DESC
--
UPDATE p_hash SET id = id + 100, v = -v
--
ALTER TABLE p_hash COALESCE PARTITION 1
--
UPDATE p_key SET id = CONCAT(id, 'x'), v = -v
--
ALTER TABLE p_key ADD PARTITION PARTITIONS 2
--
UPDATE p_sub SET d = COALESCE(d + INTERVAL 30 YEAR, '2000-01-01'), v = -v LIMIT 3
--
ALTER TABLE p_sub TRUNCATE PARTITION late
--
INSERT INTO p_sub VALUES (9, '2024-01-01', 2)
--
UPDATE parents SET id = id + 100 WHERE id = 2
--
UPDATE parents SET code = CONCAT(code, '!')
--
DELETE FROM parents WHERE id = 3
--
SET foreign_key_checks = 0
--
INSERT INTO children VALUES (50, 999, 'nobody', 50)
--
SET foreign_key_checks = 1
--
UPDATE children SET v = -v
--
UPDATE grandchildren SET v = v + 1 WHERE child = 1 LIMIT 1
--
SET check_constraint_checks = 0
--
UPDATE checked SET a = -1, b = -2, id = id + 10
--
INSERT INTO checked VALUES (1, -7, -8)
--
SET check_constraint_checks = 1
--
UPDATE full_text SET id = id + 10, t = CONCAT(COALESCE(t, ''), ' lazy dog'), u = 'x'
--
DELETE FROM full_text WHERE id = 12
--
UPDATE in_space SET id = id + 10, p = ST_GeomFromText('POINT(7 8)', 4326), g = POINT(id, id)
--
INSERT INTO in_space VALUES (1, ST_GeomFromText('POINT(1 2)', 4326), POINT(0, 0))
--
UPDATE periods FOR PORTION OF valid FROM '2024-02-01' TO '2024-03-01' SET v = 10
--
DELETE FROM periods FOR PORTION OF valid FROM '2025-01-01' TO '2026-01-01'
--
UPDATE r_compact SET id = id + 10, v = CONCAT(COALESCE(v, ''), 'é')
--
UPDATE r_redundant SET id = id + 10, v = LEFT(CONCAT('é', COALESCE(v, '')), 200)
--
UPDATE r_compressed SET id = id + 10, v = CONCAT(COALESCE(v, ''), 'é')
--
UPDATE r_pages SET id = id + 10, v = CONCAT(COALESCE(v, ''), 'é')
--
UPDATE r_options SET id = id + 10, v = CONCAT(COALESCE(v, ''), 'é')
--
UPDATE r_loose SET id = id + 10, v = CONCAT(COALESCE(v, ''), 'é')
--
UPDATE `select` SET `from` = `from` + 10, `where and when` = NULL, `tick``s` = -1, `ünïcödé ✓` = `dot.ted`, `quo'te"s` = 0
--
UPDATE `with space` SET id = id + 10, v = -v
--
UPDATE `tick``s` SET id = id + 10, v = -v
--
UPDATE `ünïcödé ✓` SET id = id + 10, v = -v
--
DELETE FROM `dot.ted` WHERE id = 2
--
UPDATE `dot.ted` SET id = id + 10, v = -v
--
UPDATE `per%cent_under` SET id = id + 10, v = -v
--
UPDATE `quo'te"s` SET id = id + 10, v = -v
--
UPDATE `back\slash` SET id = id + 10, v = -v
--
UPDATE `UPPER` SET id = id + 10, v = -v
--
UPDATE `a table's name of sixty-four characters, which is the longest of` SET id = id + 10, v = -v
--
INSERT INTO watched VALUES (5, 'e')
--
UPDATE watched SET id = id + 10, v = CONCAT(v, 'é')
--
DELETE FROM watched WHERE id = 12
--
CREATE TABLE `new ✓` (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20) CHARACTER SET koi8r DEFAULT 'ж', w DATE DEFAULT '0000-00-00')
--
INSERT INTO `new ✓` (v) VALUES ('ж'), (DEFAULT), (NULL)
--
ALTER TABLE `new ✓` ADD COLUMN x INT NOT NULL DEFAULT 5 FIRST, DROP COLUMN w, CHANGE v `v ✓` VARCHAR(30) CHARACTER SET utf16, ADD UNIQUE KEY (id, x)
--
RENAME TABLE `new ✓` TO `newer ✓`
--
UPDATE `newer ✓` SET `v ✓` = CONCAT(COALESCE(`v ✓`, ''), '😀')
--
CREATE TABLE copied AS SELECT id, v_u2, v_16, b64, `do`, se, dt0 FROM every_type
--
CREATE TABLE like_wide LIKE every_type
--
TRUNCATE TABLE log
--
INSERT INTO log (t) VALUES ('after')
--
DROP TABLE r_options
--
DROP VIEW recursive_view
--
CREATE OR REPLACE DEFINER = other@'%' VIEW z_base AS SELECT id, v FROM watched WHERE v <> 'ж'
--
ALTER SCHEMA shop COLLATE utf8mb4_unicode_ci
--
SET sql_mode = 'ANSI_QUOTES'
--
ALTER DEFINER = nobody@nowhere EVENT `event ✓` COMMENT 'in the new collation'
--
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'
--
SET character_set_client = latin1, collation_connection = latin1_german2_ci
--
CREATE OR REPLACE FUNCTION in_latin() RETURNS VARCHAR(20) CHARSET latin1 DETERMINISTIC RETURN 'Ã¨'
--
ALTER EVENT latin_event DO INSERT INTO log (t) VALUES ('Ã¨')
--
SET NAMES utf8mb4, sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'
--
CREATE DEFINER = nobody@nowhere TRIGGER between_two AFTER INSERT ON watched FOR EACH ROW FOLLOWS watched_first INSERT INTO "log" (t, n) VALUES ('\', NEW.id)
--
CREATE EVENT later ON SCHEDULE EVERY 3 WEEK STARTS '2035-02-03 04:05:06' COMMENT '\ ✓' DO INSERT INTO "log" (t) VALUES ('\ж')
--
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'
--
DROP TRIGGER watched_del
--
DROP EVENT once
--
CREATE TABLE in_new_collation (v VARCHAR(20) PRIMARY KEY)
--
INSERT INTO in_new_collation VALUES ('ß'), ('sss')
