// `sealgate inspect`: one object.
import { readConfig } from './sealed-config.ts'
import { isOwnBucket, policyFor, type Config } from '../config/config.ts'
import { pinsAt, prefixAt, type KeyPins } from '../config/pins.ts'
import { systemWords } from '../diagnosis.ts'
import { states } from '../maintenance/engine.ts'
import { inspectObject, type Inspected } from '../maintenance/inspect-object.ts'
import { quoted } from '../maintenance/report.ts'
import { lastUses, type PastUses } from '../observe/audit-search.ts'
import { BucketClient } from '../store-client/bucket-client.ts'
import { requiredConfig } from './check-config.ts'
import { UsageError } from './command-line.ts'
import { objectOf } from './existing-options.ts'
import { exitCodes, type Platform } from './platform.ts'
import { scanCode } from './scan.ts'
import { openKeys, openStore, storeOfBucket, type OpenedKeys } from './store-command.ts'

interface InspectValues {
  readonly 'config': string | undefined
  readonly 'object': string
  readonly 'version-id': string | undefined
  readonly 'json': boolean
}

/** Uses of its key that are shown. */
const USES = 3

/** `sealgate inspect`. @returns the exit code. @throws S3Error, KeyringError; UsageError and ConfigError for wrong arguments. */
export async function runInspect(values: InspectValues, platform: Platform): Promise<number> {
  const { bucket: name, key } = objectOf('object', values.object)
  const config = await readConfig({ file: requiredConfig(values, platform), env: platform.env })
  if (isOwnBucket(config, name)) throw new UsageError('--object: the state bucket holds no objects of clients.')
  const store = storeOfBucket(config, name)
  // Before the object is opened, which is a use as well.
  const uses = await usesOf(config, name, key)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    platform.onSignal(signal, () => {
      stop.abort()
    })
  }
  const upstream = openStore(store, config)
  try {
    const opened = await openKeys(config, 'inspect', stop.signal)
    try {
      const policy = policyFor(config, name)
      const pinned = { prefix: prefixAt(policy, key), ...pinsAt(policy, key) }
      const job = {
        bucket: new BucketClient(upstream, name, stop.signal),
        keys: opened.keys,
        pinsFor: (objectKey: string) => pinsAt(policy, objectKey),
        realm: store.realm,
        aliases: policy.aliases,
        ...policy.s3ec === null ? {} : { instructionSuffixes: policy.s3ec.instructionSuffixes },
        useFor: (objectKey: string, versionId: string | null) => opened.useFor(name, objectKey, versionId)
      }
      const inspected = await inspectObject(job, key, values['version-id'] ?? null, stop.signal)
      if (inspected === null) {
        platform.stderr.write(
          `sealgate inspect: there is no object ${quoted(key)} in ${name}${values['version-id'] === undefined ? '' : ' of this version'}.\n`
        )
        return exitCodes.failed
      }
      const document = { bucket: name, ...documentOf(inspected, opened, store.realm), pinned, keyUses: uses }
      platform.stdout.write(values.json ? `${JSON.stringify(document)}\n` : textOf(document))
      return scanCode({ states: new Set([inspected.finding.state]) })
    } finally {
      await opened.close()
    }
  } finally {
    await upstream.close()
  }
}

/** @returns why the last uses are not known, where they are not. */
async function usesOf({ audit: { file } }: Config, bucket: string, key: string): Promise<PastUses | string> {
  if (file === null) return 'not known: the configuration has no audit.file'
  try {
    return await lastUses(file, { bucket, key }, USES)
  } catch (error) {
    return `not known: the audit file could not be read: ${systemWords(error)}`
  }
}

type Document = ReturnType<typeof documentOf> & {
  readonly bucket: string
  /** The keys of its name, and the prefix that decides them; null: the bucket does. */
  readonly pinned: KeyPins & { readonly prefix: string | null }
  readonly keyUses: PastUses | string
}

function documentOf({ finding, seal, stored, versions }: Inspected, { keys }: OpenedKeys, realm: string) {
  const { key, versionId, state, fault, detail, size, storedBytes, keyId, lastModified } = finding
  const owner = keyId === null ? null : keys.owner(keyId)
  return {
    key,
    versionId,
    state,
    meaning: state === 'failed' ? '' : states[state],
    fault,
    detail,
    /** Whether name, bucket (or one of `aliases`) and realm are those that it was sealed for; null: not known. */
    boundHere: seal !== null ? true : fault === 'other-name' || fault === 'other-bucket' ? false : null,
    realm: seal === null ? null : realm,
    sealedBy: keyId === null ? null : {
      keyId,
      key: owner?.name ?? null,
      version: /^(?:local|pkcs11):[^:]+:(.+)$/.exec(keyId)?.[1] ?? null,
      current: owner === null ? null : owner.currentKeyId() === keyId
    },
    sizes: { plaintext: size, stored: storedBytes },
    lastModified: lastModified === null ? null : new Date(lastModified).toISOString(),
    seal,
    stored,
    versions
  }
}

function textOf({ bucket, key, pinned, keyUses, ...about }: Document): string {
  const { versionId, state, meaning, fault, detail, boundHere, realm, sealedBy, sizes, lastModified, seal, stored, versions } = about
  const bytes = (value: number | null): string => value === null ? 'not known' : `${value.toLocaleString('en')} bytes`
  const list = (names: readonly string[]): string => names.length === 0 ? 'none' : names.join(', ')
  const yes = (value: boolean): string => value ? 'yes' : 'no'
  const rows: (readonly [string, string | null])[] = [
    ['object', `${quoted(key)} in ${bucket}`],
    ['version', versionId === null ? null : quoted(versionId)],
    ['state', `${state}: ${meaning}`],
    ['fault', fault],
    ['detail', detail === '' ? null : detail],
    ['key', sealedBy === null ? null : `${sealedBy.keyId} (${sealedBy.key === null ? 'not in this configuration' : `"${sealedBy.key}" in the configuration`})`],
    ['keys here', pinsText(pinned)],
    ['key version', sealedBy === null ? null : versionText(sealedBy)],
    [
      'bound to',
      seal !== null ? `this name, in bucket ${seal.bucket}, realm ${realm ?? ''}` : boundHere === false ? 'another place, or its envelope was altered' : null
    ],
    ['plaintext', bytes(sizes.plaintext)],
    ['stored', bytes(sizes.stored)],
    ['written', lastModified],
    [
      'sealed as',
      seal === null ? null : `${seal.kind}, metadata ${seal.metadataSealed ? 'sealed' : 'in clear'}${seal.isPublic ? ', with the public mark' : ''}`
    ],
    ['SSE of client', seal === null ? null : `${seal.sse}${seal.bucketKey ? ', bucket key' : ''}`],
    ['parts', seal?.parts?.toLocaleString('en') ?? null],
    ['checksums', seal === null ? null : `${list(seal.checksums)} (of the plaintext)`],
    [
      'at the store',
      stored === null ? null : [
        `class ${stored.storageClass}`,
        `ETag ${stored.etag === null ? 'none' : quoted(stored.etag)}`,
        ...stored.parts === null ? [] : [`${stored.parts} parts`],
        `checksums: ${list(stored.checksums)}`,
        `its encryption: ${stored.encryption ?? 'none'}`,
        `${stored.tags} tags`
      ].join('; ')
    ],
    [
      'lock',
      stored === null
        ? null
        : stored.lock.mode === null
        ? 'none'
        : `${stored.lock.mode} until ${stored.lock.until ?? 'not said'}${stored.lock.active ? '' : ', over'}`
    ],
    ['legal hold', stored === null ? null : yes(stored.lock.legalHold)],
    ['versions', `${versions.versions.toLocaleString('en')}${versions.more ? ' or more' : ''}, and ${versions.deleteMarkers} delete markers`],
    ...usesText(keyUses)
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.flatMap(([name, value]) => value === null ? [] : [`${name.padEnd(width)}  ${shown(value)}\n`]).join('')
}

function pinsText({ prefix, key, allowedKeys, openKeys }: Document['pinned']): string {
  const more = (names: readonly string[], what: string): string => names.length === 0 ? '' : `; ${names.join(', ')} ${what}`
  return `of ${prefix === null ? 'the bucket' : `the prefix ${quoted(prefix)}`}: ${key}${more(allowedKeys, 'at a client\'s wish')}${
    more(openKeys, 'to open only')
  }`
}

/** Key services do not tell the versions of their keys. */
function versionText({ version, current }: NonNullable<Document['sealedBy']>): string | null {
  if (version === null) return null
  return `${version}${current === null ? '' : current ? ', the current one' : ', not the current one: "sealgate rewrap" renews it'}`
}

/** Headers of the store are bytes of anybody's choice. */
function shown(text: string): string {
  return text.replaceAll(/\p{C}/gu, '?')
}

function usesText(uses: PastUses | string): (readonly [string, string])[] {
  if (typeof uses === 'string') return [['last key uses', uses]]
  const rows = uses.uses.map(({ time, principal, operation, action, outcome }) =>
    ['last key use', `${time} ${principal} ${operation} (${action}, ${outcome})`] as const
  )
  if (rows.length > 0) return rows
  return [['last key uses', `none in the audit file${uses.whole ? '' : ', of which the last 256 MiB were read'}; older ones may be in files that were rotated`]]
}
