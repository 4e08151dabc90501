// `sealgate keys shred`: destroys a key, and with it whatever is sealed under it (docs/KEYS.md, Erasure).
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { policyFor, upstreamsOfKey } from '../config/config.ts'
import { keysOf, sealingKeys, type KeyPins } from '../config/pins.ts'
import { keyIdsOfSecrets, readConfig } from './sealed-config.ts'
import { S3Error } from '../errors.ts'
import { kindOf, siteOf } from '../keys/configured-key.ts'
import { KeyringError } from '../keys/keyring.ts'
import type { Destruction } from '../keys/provider-kind.ts'
import { version } from '../version.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { exitCodes, type Platform } from './platform.ts'
import { ShredRecord, type ShredResult } from './shred-record.ts'
import { countOption, openKeys, storeOfBucket } from './store-command.ts'

interface ShredValues {
  readonly config: string | undefined
  readonly bucket: string
  readonly key: string
  readonly record: string
  readonly days: string | undefined
  readonly confirm: string | undefined
}

/** Days that KMS waits before it deletes a key, at most and by default (AWS KMS API reference, ScheduleKeyDeletion). */
const MOST_DAYS = 30
const LEAST_DAYS = 7

/** A place whose objects the key seals or opens. */
interface Use {
  readonly bucket: string
  readonly prefix: string | null
  readonly as: 'key' | 'allowedKeys' | 'openKeys' | 's3ec.keys'
}

/**
 * Without `--confirm` it prints what the key is used for, and changes nothing. A record is written and signed before the key is destroyed, and again with the
 * result, so that an interrupted run leaves one too. Each write replaces the file with its signature at once.
 * @returns the exit code.
 * @throws UsageError, ConfigError, KeyringError; S3Error of the key services.
 */
export async function shredKey(values: ShredValues, platform: Platform): Promise<number> {
  const { bucket, key } = values
  const path = requiredConfig(values, platform)
  const config = await readConfig({ file: path, env: platform.env })
  const section = config.keys[key]
  if (section === undefined) throw new UsageError(`--key: the configuration has no key named ${key}.`)
  const kind = kindOf(section)
  const days = countOption('days', values.days, MOST_DAYS, MOST_DAYS)
  if (days < LEAST_DAYS) throw new UsageError(`--days must be a whole number from ${LEAST_DAYS} to ${MOST_DAYS}.`)
  const realm = storeOfBucket(config, bucket).realm
  const signer = signerOf(policyFor(config, bucket).keys.bucket, bucket, key)
  const uses = usesOf(config, key)
  if (config.audit.key === key) {
    throw new UsageError('--key: audit.key names it, and no line of the audit trail could be verified any more. Give the trail another key first.')
  }
  platform.stdout.write(planText(key, section.type, uses))
  if (values.confirm !== key) {
    if (values.confirm !== undefined) throw new UsageError(`--confirm: give the name of the key, ${key}.`)
    platform.stdout.write(`Nothing was destroyed. To destroy it: --confirm ${key}\n`)
    return exitCodes.done
  }
  const file = resolve(platform.cwd, values.record)
  const facts = {
    version: version(),
    configuration: createHash('sha256').update(await readFile(path)).digest('hex'),
    by: `${userInfo().username} on ${hostname()}`,
    key,
    type: section.type,
    uses,
    began: new Date().toISOString()
  }
  const signal = new AbortController().signal
  const opened = await openKeys(config, 'keys shred', signal)
  try {
    const secrets = keyIdsOfSecrets({ file: path, env: platform.env }).filter((id) => opened.keys.owner(id)?.name === key).length
    if (secrets > 0) {
      throw new UsageError(
        `--key: ${secrets} sealed secrets of the configuration are under it, which could not be read any more. Seal them under another key first.`
      )
    }
    const record = new ShredRecord(file, facts, { bucket, realm, signer, opened })
    await record.write({ destroyed: null })
    const site = siteOf(key, { keys: config.keys, usedAt: (name) => upstreamsOfKey(config, name) })
    const { failure, ...destroyed } = await kind.destroy(section, site, { days, signal }).catch(async (error: unknown) => {
      if (error instanceof S3Error || error instanceof KeyringError) await record.write({ ...endOf(error), destroyed: null })
      throw error
    })
    // First: a record that cannot be written must not hide what was done.
    platform.stdout.write(doneText(destroyed, file, config.keyCache.maxAgeSeconds))
    await record.write({ ...endOf(failure), destroyed })
    if (failure === null) return exitCodes.done
    platform.stderr.write(`sealgate keys shred: the rest of the key is not destroyed: ${failure.message} (${failure.code})\n`)
    return exitCodes.failed
  } finally {
    await opened.close()
  }
}

function endOf(error: S3Error | KeyringError | null): Pick<ShredResult, 'ended' | 'failed'> {
  const failed = error === null ? null : { code: error instanceof S3Error ? error.code : 'KeyringError', message: error.message }
  return { ended: new Date().toISOString(), failed }
}

/** The key of the bucket that signs the record: not the one that is destroyed, which could not open it again. */
function signerOf(pins: KeyPins, bucket: string, destroyed: string): string {
  const signer = sealingKeys(pins).find((name) => name !== destroyed)
  if (signer !== undefined) return signer
  throw new UsageError(
    `--bucket: ${bucket} has no other key to sign the record with. Give it a new key first, and keep ${destroyed} under its openKeys until then.`
  )
}

function usesOf({ buckets }: Config, key: string): readonly Use[] {
  return buckets.flatMap(([bucket, { keys, s3ec }]) => [
    ...[[null, keys.bucket] as const, ...keys.prefixes].flatMap(([prefix, pins]): Use[] => {
      if (!keysOf(pins).includes(key)) return []
      return [{ bucket, prefix, as: pins.key === key ? 'key' : pins.allowedKeys.includes(key) ? 'allowedKeys' : 'openKeys' }]
    }),
    ...s3ec?.keys.includes(key) === true ? [{ bucket, prefix: null, as: 's3ec.keys' as const }] : []
  ])
}

function planText(key: string, type: string, uses: readonly Use[]): string {
  const lines = uses.map(({ bucket, prefix, as }) =>
    `  ${as.padEnd(11)} buckets.${bucket}${prefix === null ? '' : `, names under ${JSON.stringify(prefix)}`}\n`
  )
  return `Key ${key} (${type}) is named by:\n${lines.length === 0 ? '  nothing\n' : lines.join('')}`
    + 'Whatever is sealed under it, at these places and in every copy, opens no more: "sealgate keys usage" counts it. There is no way back.\n'
}

function doneText({ keyIds, final, notes }: Omit<Destruction, 'failure'>, record: string, cacheSeconds: number): string {
  return `Destroyed ${keyIds.length === 0 ? 'no version: all had been destroyed before' : keyIds.join(', ')}; final at ${final}.\n`
    + `Instances hold bucket keys in memory for up to ${cacheSeconds} seconds more, or until a reload (SIGHUP). What clients write under the key in this time\n`
    + `is lost: stop them before.\n${notes.map((note) => `${note}\n`).join('')}`
    + `Record: ${record} ("sealgate report check" checks it).\n`
}
