INSERT INTO every_type (id) VALUES (1)
--
INSERT INTO every_type SET id = 2, ti = -128, tiu = 0, tiz = 0, bo = 0, si = -32768, siu = 0, siz = 0, mi = -8388608, miu = 0, miz = 0,
  i = -2147483648, iu = 0, iz = 0, bi = -9223372036854775808, biu = 0, biz = 0,
  de = -999999999999999999999999999.99999999999999999999999999999999999999, de0 = -99999999999999999999999999999999999999999999999999999999999999999,
  deu = 0, dez = 0, fl = -3.4028234663852886e38, flu = 0, flm = -99999.99, flz = 0, `do` = -1.7976931348623157e308, dou = 0, dom = -12345678901234567.0123456789,
  b1 = b'0', b8 = b'0', b9 = b'0', b63 = 0, b64 = 0, da = '0000-00-00', t0 = '-838:59:59', t3 = '-838:59:59.999', t6 = '-838:59:59.999999',
  dt0 = '0000-00-00 00:00:00', dt3 = '0000-00-00 00:00:00.000', dt6 = '0000-00-00 00:00:00.000000',
  ts0 = '0000-00-00 00:00:00', ts3 = '1970-01-01 00:00:01.000', ts6 = '1970-01-01 00:00:00.000001', ye = 0,
  c_l1 = '', c_u3 = '', c_u4 = '', c_u2 = '', c_16 = '', c_le = '', c_32 = '', c_0 = '', v_l1 = '', v_u3 = '', v_u4 = '', v_u2 = '', v_16 = '', v_32 = '',
  v_sj = '', v_gb = '', v_b5 = '', v_cy = '', v_np = '', x_ti = '', x_te = '', x_me = '', x_lo = '', x_u2 = '', x_32 = '',
  bi1 = '', bi16 = '', vb = '', l_ti = '', l_bl = '', l_me = '', l_lo = '', en = '', en2 = 'ж', se = '', se2 = '', s64 = '', js = '{}',
  i4 = '0.0.0.0', i6 = '::', uu = '00000000-0000-0000-0000-000000000000', g = POINT(0, 0), g_po = POINT(-1e308, 1e-308),
  g_gc = ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), z_vc = '', z_bl = '', z_u2 = '', hid = NULL, d_lit = '', at_in = '0000-00-00 00:00:00', at_up = NULL
--
INSERT INTO every_type SET id = 3, ti = 127, tiu = 255, tiz = 7, bo = 1, si = 32767, siu = 65535, siz = 7, mi = 8388607, miu = 16777215, miz = 7,
  i = 2147483647, iu = 4294967295, iz = 7, bi = 9223372036854775807, biu = 18446744073709551615, biz = 18446744073709551615,
  de = 999999999999999999999999999.99999999999999999999999999999999999999, de0 = 99999999999999999999999999999999999999999999999999999999999999999,
  deu = 9999999999.9999999999, dez = 1.5, fl = 3.4028234663852886e38, flu = 16777217, flm = 99999.99, flz = 1.5, `do` = 1.7976931348623157e308,
  dou = 4.9406564584124654e-324, dom = 12345678901234567890.0123456789,
  b1 = b'1', b8 = 255, b9 = 511, b63 = 9223372036854775807, b64 = 18446744073709551615, da = '9999-12-31', t0 = '838:59:59', t3 = '838:59:59.999',
  t6 = '838:59:59.999999', dt0 = '9999-12-31 23:59:59', dt3 = '9999-12-31 23:59:59.999', dt6 = '9999-12-31 23:59:59.999999',
  ts0 = '2038-01-19 03:14:07', ts3 = '2038-01-19 03:14:07.999', ts6 = '2038-01-19 03:14:07.999999', ye = 2155,
  c_l1 = 'café €ÿ', c_u3 = 'ünï✓', c_u4 = '😀 a', c_u2 = '✓ж\t\n', c_16 = '😀ж\\', c_le = '😀ж', c_32 = '😀ж\0', c_0 = '',
  v_l1 = 'café €ÿ', v_u3 = 'ünï✓', v_u4 = '😀a\\b\tc\nd\0e', v_u2 = '\\\t\n\0✓Ċ', v_16 = '😀\\\t\n', v_32 = '😀\\\t\n',
  v_sj = 'ソ表', v_gb = '乗', v_b5 = '功許', v_cy = 'жёлтый', v_np = 'a  ', x_ti = 'a\tb\nc\\d', x_te = REPEAT('✓😀\n', 2000), x_me = REPEAT('é\\', 3000),
  x_lo = REPEAT('0123456789', 30000), x_u2 = REPEAT('✓ж\\', 500), x_32 = REPEAT('😀', 1000),
  bi1 = x'00', bi16 = x'00202009', vb = x'61002000', l_ti = x'00', l_bl = x'000a0d095c27225c4e1a00', l_me = REPEAT(x'00ff5c', 30000), l_lo = REPEAT(x'5c4e0a', 100000),
  en = '✓', en2 = 'x', se = 'x,y,é,1', se2 = 'ж,x', s64 = '0,1,31,32,62,63', js = '{"b": 1, "a": [null, true, "✓😀\\n"],   "a": 2}',
  i4 = '255.255.255.255', i6 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', uu = 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  g = ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))', 4326), g_po = POINT(1.1, -0.0e0), g_ls = ST_GeomFromText('LINESTRING(0 0,1 1e300)'),
  g_pg = ST_GeomFromText('POLYGON((0 0,0 9,9 9,9 0,0 0),(1 1,1 2,2 2,1 1))'), g_mp = ST_GeomFromText('MULTIPOINT(0 0,1 1)'),
  g_ml = ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), g_mg = ST_GeomFromText('MULTIPOLYGON(((0 0,0 1,1 1,0 0)))'),
  g_gc = ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'), z_vc = REPEAT('ab✓', 60), z_bl = REPEAT(x'0001', 5000), z_u2 = REPEAT('✓ж', 1000),
  hid = -1, d_num = 99.99, d_bin = x'', at_in = '2038-01-19 03:14:07.999999', at_up = '2000-01-01 00:00:00.123'
--
INSERT INTO every_type SET id = 18446744073709551614, fl = -0.0e0, `do` = -0.0e0, flm = -0.0e0, dom = -0.0e0, flu = 1.17549435e-38, dou = 2.2250738585072014e-308,
  de = -0.0e0, da = '2024-02-30', dt0 = '2024-00-00 00:00:00', dt6 = '0001-01-01 00:00:00.000001', t0 = '-00:00:01', t6 = '-00:00:00.000001', ye = 1901,
  ts6 = '2024-03-31 01:30:00.5', c_l1 = 'a  ', c_u2 = 'a ', v_l1 = 'a  ', v_u3 = ' a ', v_u4 = 'a ', v_u2 = ' ', v_16 = ' ', v_32 = ' ', v_np = ' ',
  x_te = ' ', x_u2 = ' ', vb = x'2000', bi16 = x'20', bi1 = x'5c', l_bl = ' ', en = 'é', se = 'é', se2 = 'ж', js = '[1, 2.50, 1e2, "\\u00e9"]',
  i6 = '::ffff:10.0.0.1', i4 = '92.10.0.9', uu = '5c0a0900-5c4e-11ec-8000-00005c0a0009', g = ST_GeomFromText('GEOMETRYCOLLECTION(POINT(5 5))'), s64 = '63', b64 = 1, b63 = 92
--
INSERT INTO every_type SET id = 4, en = 0, se = 0, js = 'null', fl = 0.1, `do` = 0.1, dom = 0.1, flm = 0.1, flu = 1e-45, dou = 1e-310, v_u4 = '\\N', vb = '\\N', l_bl = 'NULL', x_te = 'NULL',
  da = '2024-00-15', dt3 = '2024-02-31 24:00:00', t3 = '24:00:00.001', ye = 1999, b9 = 10, b8 = 9, c_0 = NULL, hid = 92
--
INSERT INTO by_unsigned VALUES (0, 'zero'), (9223372036854775807, 'max'), (9223372036854775808, 'max + 1'), (18446744073709551615, 'last')
--
INSERT INTO by_text VALUES ('', 0), ('a', 1), ('B', 2), ('ç', 3), ('\\', 4), ('ж', 5), ('😀', 6)
--
INSERT INTO by_latin VALUES ('a', 1, '0000-00-00', 1), ('A', -1.5, '0000-00-00', 2), ('é', 0, '2024-02-30', 3), ('', 0, '9999-12-31', 4)
--
INSERT INTO by_bytes VALUES (x'61', 1), (x'6100', 2), (x'6120', 3), (x'', 4), (x'00', 5), (x'5c0a09', 6), (x'ff', 7)
--
INSERT INTO by_wide VALUES ('a', 0.1), ('😀', -0.0e0), ('\\', 3.4e38), (' b', NULL)
--
INSERT INTO by_time VALUES ('1970-01-01 00:00:00.000001', '-00:00:00.01'), ('2024-10-27 00:30:00', '0'), ('2024-10-27 01:30:00', '12:00')
--
INSERT INTO by_double VALUES (0, 1), (0.1, 2), (-1e300, 3), (4.9406564584124654e-324, 4)
--
INSERT INTO by_nothing VALUES (1, 'a', 0.1, 0.1, x'00', 1), (1, 'a', 0.1, 0.1, x'00', 1), (NULL, NULL, NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL, NULL, NULL),
  (2, 'a ', -0.0e0, -0.0e0, '', -0.0e0), (2, 'a', 0, 0, NULL, 0), (3, '', 16777217, 1e-320, x'5c', 99.999)
--
INSERT INTO by_null VALUES (NULL, 1), (NULL, 1), (NULL, 2), (1, 1), (2, NULL)
--
INSERT INTO by_long_unique VALUES (1, REPEAT('a', 3000), REPEAT(x'00', 3000)), (2, CONCAT(REPEAT('a', 3000), 'b'), x''), (3, NULL, NULL), (4, NULL, NULL)
--
INSERT INTO counted (v) VALUES (1), (2), (3), (4)
--
DELETE FROM counted WHERE v IN (2, 4)
--
INSERT INTO counted VALUES (0, 5), (-3, 6), (10000, 7)
--
DELETE FROM counted WHERE id = 10000
--
INSERT INTO counted_second (kind, v) VALUES (1, 1), (2, 2), (1, 3)
--
INSERT INTO p_range VALUES (1, '1999-12-31', 'a'), (2, '2000-01-01', 'b'), (3, '2024-01-01', 'c'), (4, '0000-00-00', 'd')
--
INSERT INTO p_columns VALUES (1, 'a', 1), (5, 'l', 2), (5, 'm', 3), (9, 'é', 4)
--
INSERT INTO p_list VALUES (0, 1), (1, 2), (2, 3), (3, 4), (-1, 5)
--
INSERT INTO p_hash (v) VALUES (1), (2), (3), (4), (5), (6)
--
INSERT INTO p_key VALUES ('a', 1), ('b', 2), ('é', 3), ('', 4)
--
INSERT INTO p_sub VALUES (1, '1990-01-01', 1), (2, '2024-01-01', 2), (3, NULL, 3), (3, NULL, 3)
--
INSERT INTO parents VALUES (1, 'one', NULL), (2, 'two', 1), (3, 'three', 1), (4, 'four', 4)
--
INSERT INTO children VALUES (1, 1, 'one', 1), (2, 1, 'two', 2), (3, 2, NULL, 3), (4, NULL, 'three', 4), (5, 3, 'three', 5)
--
INSERT INTO grandchildren VALUES (1, 1), (1, 1), (2, 2), (3, 3), (5, 5)
--
SET check_constraint_checks = 0
--
INSERT INTO checked VALUES (1, 1, 2), (2, -5, -6), (3, NULL, 1)
--
SET check_constraint_checks = 1
--
INSERT INTO full_text VALUES (1, 'the quick brown fox', 'jumps'), (2, 'café crème', NULL), (3, NULL, '')
--
INSERT INTO in_space VALUES (1, ST_GeomFromText('POINT(1 2)', 4326), POINT(0, 0)), (2, ST_GeomFromText('POINT(-180 90)', 4326), ST_GeomFromText('LINESTRING(0 0,5 5)'))
--
INSERT INTO periods VALUES (1, '2024-01-01', '2024-06-01', 1), (1, '2024-06-01', '2025-01-01', 2), (2, '2024-01-01', '9999-12-31', 3)
--
INSERT INTO r_compact VALUES (1, 'a'), (2, REPEAT('é', 200)), (3, NULL)
--
INSERT INTO r_redundant VALUES (1, 'a'), (2, REPEAT('é', 200)), (3, NULL)
--
INSERT INTO r_compressed VALUES (1, REPEAT('ab', 5000)), (2, ''), (3, NULL)
--
INSERT INTO r_pages VALUES (1, REPEAT('ab', 5000)), (2, ''), (3, NULL)
--
INSERT INTO r_options VALUES (1, 'a'), (2, ''), (3, NULL)
--
INSERT INTO r_loose VALUES (1, 'a'), (2, ''), (3, NULL)
--
INSERT INTO `select` VALUES (1, 2, 3, 4, 5, 6, 7, 8), (2, 2, NULL, 4, NULL, 6, 7, 8), (3, 0, 0, 0, 0, 0, 0, 0)
--
INSERT INTO `with space` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `tick``s` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `ünïcödé ✓` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `dot.ted` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `per%cent_under` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `quo'te"s` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `back\slash` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `UPPER` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO `a table's name of sixty-four characters, which is the longest of` VALUES (1, 1), (2, 2), (3, 3)
--
INSERT INTO watched VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')
