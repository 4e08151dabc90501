#!/usr/bin/env bash
# Spark on S3A: Parquet by the magic committer (uploads that a job completes when it commits), by the directory committer and by renames (copies in the store), partitions,
# overwritten and appended, ORC, CSV and JSON; a job that fails leaves nothing behind.
. "$(dirname "$0")/rig.sh" "$@"
version=4.0.1 hadoop=3.4.1
package keytool openjdk-17-jre-headless
python_packages pyspark==$version
# The AWS SDK is a bundle of its own; the committers come from Spark's module for clouds.
maven_packages "org.apache.hadoop:hadoop-aws:$hadoop" software.amazon.awssdk:bundle:2.24.6 "org.apache.spark:spark-hadoop-cloud_2.13:$version" \
  org.wildfly.openssl:wildfly-openssl:1.1.3.Final
keytool -importcert -noprompt -alias recipe -file "$ca" -storetype PKCS12 -keystore "$work/trust.p12" -storepass changeit 2>/dev/null || unavailable 'keytool made no trust store'
export JARS=$jars TRUST=$work/trust.p12 PYSPARK_PYTHON=$python SPARK_LOCAL_IP=127.0.0.1
round() { for name in magic directory rename formats failure; do step "$name" python_step "$name"; done; }
rounds round
row 'Spark S3A' "$version, Hadoop $hadoop" 'Parquet by the magic and directory committers and by renames, partitions, append and overwrite, ORC, CSV, JSON, a failed job; every row compared' '`fs.s3a.path.style.access`, `fs.s3a.committer.name=magic`; `-Djavax.net.ssl.trustStore` for an own authority'
