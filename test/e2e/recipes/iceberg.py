"""The steps of iceberg.sh: one function each, named by the first argument. The tables are read and written by the FileIO that MODE's round chooses."""
import os
import subprocess
import sys
import time

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual

IO = {'pyarrow': 'pyiceberg.io.pyarrow.PyArrowFileIO', 'fsspec': 'pyiceberg.io.fsspec.FsspecFileIO'}
WRITERS, COMMITS = 2, 4
SCHEMA = pa.schema([('i', pa.int64()), ('h', pa.string()), ('m', pa.string()), ('w', pa.string())])


def catalogue():
    return SqlCatalog('lake', **{
        'uri': f"sqlite:///{os.environ['WORK']}/catalogue-{os.environ['MODE']}.db", 'warehouse': f"s3://{os.environ['BUCKET']}/warehouse",
        'py-io-impl': IO[os.environ['FILE_IO']], 's3.endpoint': os.environ['ENDPOINT'], 's3.region': 'us-east-1', 's3.force-virtual-addressing': 'false',
        's3.access-key-id': os.environ['AWS_ACCESS_KEY_ID'], 's3.secret-access-key': os.environ['AWS_SECRET_ACCESS_KEY'],
    })


def name():
    return f"db.events_{os.environ['FILE_IO']}"


def rows(first, count, who='main'):
    ids = range(first, first + count)
    return pa.table({'i': list(ids), 'h': [f'{i * 2654435761 % 2**32:08x}' for i in ids], 'm': [os.environ['MARKER']] * count, 'w': [who] * count}, schema=SCHEMA)


def same(found, expected):
    found = found.select(expected.column_names).cast(expected.schema).combine_chunks().sort_by('i')
    assert found.equals(expected.combine_chunks().sort_by('i')), (found.num_rows, expected.num_rows)


def write():
    catalog = catalogue()
    catalog.create_namespace_if_not_exists('db')
    table = catalog.create_table(name(), SCHEMA, properties={'write.parquet.compression-codec': 'uncompressed', 'write.metadata.compression-codec': 'none'})
    table.append(rows(0, 60_000))
    table.append(rows(60_000, 20_000))


def read():
    table = catalogue().load_table(name())
    same(table.scan().to_arrow(), rows(0, 80_000))
    same(table.scan(row_filter=GreaterThanOrEqual('i', 79_990)).to_arrow(), rows(79_990, 10))
    same(table.scan(snapshot_id=table.history()[0].snapshot_id).to_arrow(), rows(0, 60_000))


def changes():
    table = catalogue().load_table(name())
    table.delete(GreaterThanOrEqual('i', 40_000))
    same(table.scan().to_arrow(), rows(0, 40_000))
    table.overwrite(rows(5, 1, 'changed'), overwrite_filter=EqualTo('i', 5))
    assert table.scan(row_filter=EqualTo('i', 5)).to_arrow()['w'].to_pylist() == ['changed']
    table.upsert(rows(39_999, 2), join_cols=['i'])
    assert table.scan().to_arrow().num_rows == 40_001
    with table.update_schema() as update:
        from pyiceberg.types import StringType
        update.add_column('extra', StringType())
    assert table.scan().to_arrow()['extra'].null_count == 40_001
    same(table.scan(snapshot_id=table.history()[1].snapshot_id).to_arrow(), rows(0, 80_000))


def writer():
    """One of those that append at the same time: whoever is second tries again on what is there now."""
    who = int(sys.argv[2])
    for commit in range(COMMITS):
        for _ in range(200):
            try:
                catalogue().load_table(name()).append(rows(1_000_000 * (who + 1) + commit * 10, 10, f'writer {who}').append_column('extra', pa.array(['x'] * 10)))
                break
            except CommitFailedException:
                time.sleep(0.05)
        else:
            sys.exit('never won')


def writers():
    started = [subprocess.Popen([sys.executable, '-P', __file__, 'writer', str(who)]) for who in range(WRITERS)]
    assert [each.wait() for each in started] == [0] * WRITERS
    found = catalogue().load_table(name()).scan(row_filter=GreaterThanOrEqual('i', 1_000_000)).to_arrow()
    same(found, pa.concat_tables([rows(1_000_000 * (who + 1), COMMITS * 10, f'writer {who}') for who in range(WRITERS)]))


def purge():
    """A second table is dropped with its files: nothing of it is left to list."""
    catalog = catalogue()
    table = catalog.create_table(f'{name()}_gone', SCHEMA)
    table.append(rows(0, 10))
    location = table.location()
    catalog.purge_table(f'{name()}_gone')
    try:
        catalog.load_table(f'{name()}_gone')
    except NoSuchTableError:
        pass
    else:
        sys.exit(f'{location} is still there')


globals()[sys.argv[1]]()
