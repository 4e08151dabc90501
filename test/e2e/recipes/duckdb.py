"""The steps of duckdb.sh: one function each, named by the first argument. Its storage is https://localhost:PORT with a certificate of its own authority."""
import os
import sys

import duckdb
from duckdb_extensions import import_extension

ROWS = 400_000
lake = f"s3://{os.environ['BUCKET']}"
db = duckdb.connect(f"{os.environ['WORK']}/duckdb-{os.environ['MODE']}.db")
import_extension('httpfs', con=db)
db.execute('LOAD httpfs')
# Global: a session's own is not what ATTACH takes.
db.execute(f"SET GLOBAL ca_cert_file = '{os.environ['CA']}'")
db.execute('SET GLOBAL enable_server_cert_verification = true')
db.execute(f"""CREATE SECRET lake (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}',
  ENDPOINT '{os.environ['ENDPOINT'].removeprefix('https://')}', REGION 'us-east-1', URL_STYLE 'path', USE_SSL true)""")


def one(sql):
    return db.execute(sql).fetchone()[0]


def same(source, table='t'):
    """The rows of a source in the lake are those of a table here: nothing is in one and not in the other, and the counts are the same."""
    assert one(f'SELECT count(*) FROM {source}') == one(f'SELECT count(*) FROM {table}'), source
    assert one(f'SELECT count(*) FROM (SELECT i, h, m, d, g FROM {source} EXCEPT ALL SELECT i, h, m, d, g FROM {table})') == 0, source


def write():
    db.execute(f"""CREATE TABLE t AS SELECT i, md5(i::VARCHAR) AS h, '{os.environ['MARKER']}' AS m, random() AS d, (i % 5)::INTEGER AS g FROM range({ROWS}) r(i)""")
    db.execute(f"COPY t TO '{lake}/one.parquet' (COMPRESSION uncompressed)")
    db.execute(f"COPY t TO '{lake}/zstd.parquet' (COMPRESSION zstd, ROW_GROUP_SIZE 50000)")
    db.execute(f"COPY t TO '{lake}/hive' (FORMAT parquet, PARTITION_BY (g))")
    db.execute(f"COPY t TO '{lake}/t.csv.gz' (HEADER)")
    db.execute(f"COPY (SELECT * FROM t WHERE i < 1000) TO '{lake}/t.json'")


def read():
    same(f"read_parquet('{lake}/one.parquet')")
    same(f"read_parquet('{lake}/zstd.parquet')")
    same(f"read_parquet('{lake}/hive/*/*.parquet', hive_partitioning = true)")
    same(f"read_csv('{lake}/t.csv.gz')")
    same(f"read_json('{lake}/t.json')", '(SELECT * FROM t WHERE i < 1000)')
    same(f"read_parquet(['{lake}/one.parquet', '{lake}/zstd.parquet'])", '(SELECT * FROM t UNION ALL SELECT * FROM t)')


def ranges():
    """Few columns and few row groups: what is not asked for is not read."""
    db.execute('SET enable_object_cache = false')
    for i in (0, 49_999, 50_000, ROWS - 1):
        row = db.execute(f"SELECT h FROM read_parquet('{lake}/zstd.parquet') WHERE i = {i}").fetchall()
        assert row == db.execute(f'SELECT h FROM t WHERE i = {i}').fetchall(), row
    assert one(f"SELECT sum(i) FROM read_parquet('{lake}/hive/*/*.parquet', hive_partitioning = true) WHERE g = 3") == one('SELECT sum(i) FROM t WHERE g = 3')


def overwrite():
    db.execute(f"COPY (SELECT * FROM t WHERE g = 1) TO '{lake}/one.parquet' (COMPRESSION uncompressed)")
    same(f"read_parquet('{lake}/one.parquet')", '(SELECT * FROM t WHERE g = 1)')
    db.execute(f"COPY (SELECT * FROM t WHERE g < 2) TO '{lake}/hive' (FORMAT parquet, PARTITION_BY (g), OVERWRITE_OR_IGNORE, FILENAME_PATTERN 'more_{{i}}')")
    same(f"read_parquet('{lake}/hive/*/*.parquet', hive_partitioning = true)", '(SELECT * FROM t UNION ALL SELECT * FROM t WHERE g < 2)')
    assert one(f"SELECT count(*) FROM glob('{lake}/hive/**')") == 7


def attach():
    """A database file in the lake, read through ranges."""
    from pathlib import Path
    local = f"{os.environ['WORK']}/local-{os.environ['MODE']}.db"
    db.execute(f"ATTACH '{local}' AS file; CREATE TABLE file.t AS FROM t; DETACH file")
    db.execute(f"COPY (SELECT content FROM read_blob('{local}')) TO '{lake}/t.db' (FORMAT blob)")
    assert one(f"SELECT content FROM read_blob('{lake}/t.db')") == Path(local).read_bytes()
    db.execute(f"ATTACH '{lake}/t.db' AS far (READ_ONLY)")
    same('far.t')


globals()[sys.argv[1]]()
