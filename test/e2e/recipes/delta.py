"""The steps of delta.sh: one function each, named by the first argument."""
import os
import subprocess
import sys

import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake

table = f"s3://{os.environ['BUCKET']}/tables/events"
options = {
    'AWS_ENDPOINT_URL': os.environ['ENDPOINT'], 'AWS_REGION': 'us-east-1', 'AWS_ACCESS_KEY_ID': os.environ['AWS_ACCESS_KEY_ID'],
    'AWS_SECRET_ACCESS_KEY': os.environ['AWS_SECRET_ACCESS_KEY'], 'AWS_VIRTUAL_HOSTED_STYLE_REQUEST': 'false', 'conditional_put': 'etag',
}
visible = WriterProperties(compression='UNCOMPRESSED')
WRITERS, COMMITS = 2, 12


def rows(first, count, who='main'):
    ids = list(range(first, first + count))
    return pa.table({'i': pa.array(ids, pa.int64()), 'h': [f'{i * 2654435761 % 2**32:08x}' for i in ids], 'm': [os.environ['MARKER']] * count, 'w': [who] * count})


def content(version=None):
    return DeltaTable(table, version=version, storage_options=options).to_pyarrow_table().sort_by('i')


def same(expected, version=None):
    found = content(version).select(expected.column_names)
    assert found.cast(expected.schema).equals(expected.sort_by('i')), (found.num_rows, expected.num_rows)


def write():
    write_deltalake(table, rows(0, 200_000), storage_options=options, writer_properties=visible)
    write_deltalake(table, rows(200_000, 100_000), mode='append', storage_options=options, writer_properties=visible)


def read():
    same(rows(0, 200_000), 0)
    same(rows(0, 300_000))


def changes():
    dt = DeltaTable(table, storage_options=options)
    assert dt.delete('i >= 250000')['num_deleted_rows'] == 50_000
    same(rows(0, 250_000))
    dt = DeltaTable(table, storage_options=options)
    dt.merge(rows(249_000, 2_000), 's.i = t.i', source_alias='s', target_alias='t').when_matched_update_all().when_not_matched_insert_all().execute()
    same(rows(0, 251_000))
    same(rows(0, 300_000), 1)


def writer():
    """One of those that append at the same time."""
    who = int(sys.argv[2])
    for commit in range(COMMITS):
        write_deltalake(table, rows(1_000_000 * (who + 1) + commit * 10, 10, f'writer {who}'), mode='append', storage_options=options)


def writers():
    """Each commit is one version, made by a PUT with If-None-Match: none replaces another, and none is lost."""
    before = DeltaTable(table, storage_options=options).version()
    started = [subprocess.Popen([sys.executable, '-P', __file__, 'writer', str(who)]) for who in range(WRITERS)]
    assert [each.wait() for each in started] == [0] * WRITERS
    dt = DeltaTable(table, storage_options=options)
    print(f'{dt.version() - before} versions by {WRITERS} writers')
    assert dt.version() - before == WRITERS * COMMITS
    made = pa.concat_tables([rows(1_000_000 * (who + 1), COMMITS * 10, f'writer {who}') for who in range(WRITERS)])
    same(pa.concat_tables([rows(0, 251_000), made]))


def maintenance():
    expected = content()
    dt = DeltaTable(table, storage_options=options)
    dt.optimize.compact()
    same(expected)
    dt.create_checkpoint()
    removed = dt.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert removed
    same(expected)


globals()[sys.argv[1]]()
