import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isOwnBucket, policyFor } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import { systemWords } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { takeKey } from '../keys/key-material.ts'
import type { CustomerKey } from '../keys/ssec.ts'
import { streamKeyOf, tinkKeyset } from '../maintenance/export-key.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'
import { openKeys, openStore } from './store-command.ts'

interface ExportValues {
  readonly 'config': string | undefined
  readonly 'tink-keyset': string
  readonly 'version-id': string | undefined
  readonly 'customer-key-file': string | undefined
}

/** `sealgate export-key`. @returns the exit code. @throws S3Error, KeyringError, and UsageError, ConfigError for what was asked. */
export async function runExportKey(values: ExportValues, platform: Platform): Promise<number> {
  const [, name = '', key = ''] = /^([^/]+)\/(.+)$/s.exec(values['tink-keyset']) ?? []
  if (key === '') throw new UsageError('--tink-keyset takes BUCKET/OBJECT.')
  const config = loadConfig({ file: requiredConfig(values, platform), env: platform.env })
  if (isOwnBucket(config.upstream, name)) throw new UsageError('The state bucket holds no objects of clients.')
  const { 'version-id': versionId = null, 'customer-key-file': customerFile } = values
  const customerKey = customerFile === undefined ? null : await readCustomerKey(customerFile)
  const signal = new AbortController().signal
  const upstream = openStore(config)
  try {
    const headers = await new BucketClient(upstream, name, signal).head(key, versionId)
    if (headers === null) throw new S3Error('NoSuchKey')
    const opened = await openKeys(config, 'export-key', signal)
    try {
      const policy = policyFor(config, name)
      const use = opened.useFor(name, key, headers.get('x-amz-version-id') ?? versionId)
      const at = { realm: config.upstream.realm, bucket: name, aliases: policy.aliases, key }
      const streamKey = await streamKeyOf(headers, at, { keys: opened.keys, pins: policy, customerKey, use })
      platform.stderr.write(
        'WARNING: what follows is a key in clear. Whoever has it and the stored bytes reads this object, and every copy that shares them,\n'
          + 'for ever: rotation and rewrap do not take it back. docs/TINK.md says how to use it.\n'
      )
      platform.stdout.write(tinkKeyset(streamKey))
      return exitCodes.done
    } finally {
      await opened.close()
    }
  } finally {
    await upstream.close()
  }
}

/** 32 bytes in hex, as the client sends them in base64. @throws UsageError. */
async function readCustomerKey(path: string): Promise<CustomerKey> {
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    throw new UsageError(`--customer-key-file: ${path} could not be read: ${systemWords(error)}.`)
  })
  const bytes = Buffer.from(/^[0-9a-fA-F]{64}\r?\n?$/.test(text) ? text.slice(0, 64) : '', 'hex')
  const md5 = createHash('md5').update(bytes).digest('base64')
  const key = takeKey(bytes)
  if (key === null) throw new UsageError(`--customer-key-file: ${path} does not hold 32 bytes in hex.`)
  return { key, md5 }
}
