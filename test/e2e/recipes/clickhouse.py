"""The steps of clickhouse.sh: one function each, named by the first argument."""
import os
import sys

from chdb.session import Session

ROWS = 400_000
at, keys = f"{os.environ['PLAIN']}/{os.environ['BUCKET']}", f"'{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
db = Session(f"{os.environ['WORK']}/clickhouse-{os.environ['MODE']}")
SCHEMA = 'i UInt64, h String, m String, g UInt8'
source = f"(SELECT number AS i, lower(hex(MD5(toString(number)))) AS h, '{os.environ['MARKER']}' AS m, toUInt8(number % 3) AS g FROM numbers({ROWS}))"


def sql(text):
    return str(db.query(text, 'TSV')).strip()


def same(found, expected=source):
    """The rows of one are those of the other: the counts, and the sums and the exclusive ors of two hashes of whole rows."""
    facts = 'count(), sum(cityHash64(i, h, m, g)), groupBitXor(sipHash64(i, h, m, g))'
    a, b = sql(f'SELECT {facts} FROM {found}'), sql(f'SELECT {facts} FROM {expected}')
    assert a == b, (found, a, b)


def tables():
    for name in ('t.parquet', 't.csv', 't.native', 't.csv.gz', 't.tsv.zst'):
        more = " SETTINGS output_format_parquet_compression_method = 'none'" if name.endswith('parquet') else ''
        sql(f"INSERT INTO FUNCTION s3('{at}/{name}', {keys}, auto, '{SCHEMA}') SELECT * FROM {source}{more}")
        same(f"s3('{at}/{name}', {keys}, auto, '{SCHEMA}')")
    sql(f"INSERT INTO FUNCTION s3('{at}/part/{{_partition_id}}.parquet', {keys}, Parquet, '{SCHEMA}') PARTITION BY g SELECT * FROM {source}")
    same(f"s3('{at}/part/*.parquet', {keys}, Parquet, '{SCHEMA}')")
    same(f"s3('{at}/part/{{0,2}}.parquet', {keys}, Parquet, '{SCHEMA}')", f'(SELECT * FROM {source} WHERE g != 1)')
    assert sql(f"SELECT h FROM s3('{at}/t.parquet', {keys}, Parquet, '{SCHEMA}') WHERE i = 123456") == sql(f'SELECT h FROM {source} WHERE i = 123456')


def merge_tree():
    sql('CREATE DATABASE IF NOT EXISTS lake ENGINE = Atomic')
    sql(f"""CREATE TABLE lake.t (i UInt64, h String, m String CODEC(NONE), g UInt8) ENGINE = MergeTree ORDER BY i
      SETTINGS disk = disk(name = 'sealed', type = s3, endpoint = '{at}/disk/', access_key_id = '{os.environ['AWS_ACCESS_KEY_ID']}',
        secret_access_key = '{os.environ['AWS_SECRET_ACCESS_KEY']}', region = 'us-east-1'), min_bytes_for_wide_part = 0""")
    for g in range(3):
        sql(f'INSERT INTO lake.t SELECT * FROM {source} WHERE g = {g}')
    same('lake.t')
    sql('OPTIMIZE TABLE lake.t FINAL')
    same('lake.t')
    sql("ALTER TABLE lake.t UPDATE h = 'changed' WHERE i < 1000 SETTINGS mutations_sync = 2")
    sql('ALTER TABLE lake.t DELETE WHERE g = 2 SETTINGS mutations_sync = 2')
    same('lake.t', f"(SELECT i, if(i < 1000, 'changed', h) AS h, m, g FROM {source} WHERE g != 2)")


def again():
    """Another process finds the table, and it has what was written."""
    sql('ATTACH DATABASE IF NOT EXISTS lake')
    same('lake.t', f"(SELECT i, if(i < 1000, 'changed', h) AS h, m, g FROM {source} WHERE g != 2)")


def backup():
    sql(f"BACKUP TABLE lake.t TO S3('{at}/backup/one', {keys})")
    sql(f"RESTORE TABLE lake.t AS lake.restored FROM S3('{at}/backup/one', {keys})")
    same('lake.restored', 'lake.t')


globals()[sys.argv[1]]()
