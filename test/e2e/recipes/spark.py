"""The steps of spark.sh: one function each, named by the first argument."""
import glob
import json
import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, lit, md5

ROWS = 30_000
lake = f"s3a://{os.environ['BUCKET']}"
trust = f"-Djavax.net.ssl.trustStore={os.environ['TRUST']} -Djavax.net.ssl.trustStorePassword=changeit"


def session(committer):
    build = SparkSession.builder.master('local[2]').appName('recipe').config('spark.ui.enabled', 'false').config('spark.driver.memory', '1g')
    for key, value in {
        'spark.jars': ','.join(glob.glob(f"{os.environ['JARS']}/*.jar")), 'spark.driver.extraJavaOptions': trust, 'spark.sql.shuffle.partitions': '4',
        'spark.sql.parquet.compression.codec': 'uncompressed', 'spark.local.dir': os.environ['WORK'], 'spark.log.level': 'ERROR',
        'spark.executor.heartbeatInterval': '60s', 'spark.network.timeout': '600s', # a busy machine
    }.items():
        build = build.config(key, value)
    s3a = {
        'endpoint': os.environ['ENDPOINT'], 'endpoint.region': 'us-east-1', 'path.style.access': 'true', 'access.key': os.environ['AWS_ACCESS_KEY_ID'],
        'secret.key': os.environ['AWS_SECRET_ACCESS_KEY'], 'connection.ssl.enabled': 'true', 'change.detection.mode': 'server', 'multipart.size': '5M', 'fast.upload.buffer': 'bytebuffer',
        'attempts.maximum': '2', 'retry.limit': '2',
    }
    if committer != 'file':
        s3a |= {'committer.name': committer, 'committer.magic.enabled': 'true', 'committer.staging.tmp.path': os.environ['WORK']}
        build = build.config('spark.sql.sources.commitProtocolClass', 'org.apache.spark.internal.io.cloud.PathOutputCommitProtocol') \
            .config('spark.sql.parquet.output.committer.class', 'org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter') \
            .config('spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a', 'org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory')
    for key, value in s3a.items():
        build = build.config(f'spark.hadoop.fs.s3a.{key}', value)
    return build.getOrCreate()


def rows(spark, first=0, count=ROWS):
    return spark.range(first, first + count, 1, 2).select(col('id').alias('i'), md5(col('id').cast('string')).alias('h'), lit(os.environ['MARKER']).alias('m'), (col('id') % 3).cast('int').alias('g'))


def same(found, expected):
    found = found.select('i', 'h', 'm', 'g')
    assert found.count() == expected.count(), found.count()
    assert found.exceptAll(expected).isEmpty()


def files(spark, path):
    fs = spark._jvm.org.apache.hadoop.fs
    at = fs.Path(path)
    system = at.getFileSystem(spark._jsc.hadoopConfiguration())
    found, listing = [], system.listFiles(at, True)
    while listing.hasNext():
        found.append(listing.next().getPath().toString())
    return found


def content(spark, path):
    at = spark._jvm.org.apache.hadoop.fs.Path(path)
    stream = at.getFileSystem(spark._jsc.hadoopConfiguration()).open(at)
    return spark._jvm.org.apache.commons.io.IOUtils.toString(stream, 'UTF-8')


def committed(committer):
    spark = session(committer)
    path = f'{lake}/{committer}'
    rows(spark).write.parquet(path)
    same(spark.read.parquet(path), rows(spark))
    rows(spark, ROWS, 1000).write.mode('append').parquet(path)
    same(spark.read.parquet(path), rows(spark, 0, ROWS + 1000))
    rows(spark, 0, 5000).write.mode('overwrite').partitionBy('g').parquet(path)
    same(spark.read.parquet(path), rows(spark, 0, 5000))
    assert spark.read.parquet(path).where('g = 1').count() == 1667
    # What the committer says of itself in _SUCCESS: the file committer leaves it empty.
    said = content(spark, f'{path}/_SUCCESS')
    assert (json.loads(said)['committer'] == committer) if committer != 'file' else said == '', said
    left = [file for file in files(spark, path) if '_temporary' in file or '__magic' in file]
    assert not left, left


def magic():
    committed('magic')


def directory():
    committed('directory')


def rename():
    committed('file')


def formats():
    spark = session('magic')
    some = rows(spark, 0, 20_000)
    for kind in ('orc', 'json'):
        some.write.format(kind).save(f'{lake}/{kind}')
        same(spark.read.schema(some.schema).format(kind).load(f'{lake}/{kind}'), some)
    some.write.csv(f'{lake}/csv', header=True, compression='gzip')
    same(spark.read.schema(some.schema).csv(f'{lake}/csv', header=True), some)


def failure():
    """A task that fails takes its job with it: no file, and no upload is left."""
    spark = session('magic')
    broken = rows(spark).selectExpr('i', 'h', 'm', "if(i = 29999, raise_error('on purpose'), g) as g")
    try:
        broken.write.parquet(f'{lake}/broken')
    except Exception as error:
        assert 'on purpose' in str(error), error
    else:
        sys.exit('the job did not fail')
    assert not [file for file in files(spark, f'{lake}/') if '/broken/' in file]


globals()[sys.argv[1]]()
