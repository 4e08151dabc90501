import t from 'tap'
import crypto, { hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import type { NativeCore, NativeStream } from '../../src/native/core.ts'

// Every AES-GCM call of every path is recorded by key and nonce. Modules see the recorder because it is in place before
// they are loaded.
const used = new Map<string, number>()
const record = (pair: string): void => {
  used.set(pair, (used.get(pair) ?? 0) + 1)
}
const original = crypto.createCipheriv
crypto.createCipheriv = ((...args: Parameters<typeof original>) => {
  const [algorithm, key, nonce] = args
  if (algorithm !== 'aes-256-gcm') throw new Error(`${algorithm} is not in the format`)
  record(`${(key as KeyObject).export().toString('hex')} ${Buffer.from(nonce as Buffer).toString('hex')}`)
  return original(...args)
}) as typeof original
syncBuiltinESMExports()
t.teardown(() => {
  crypto.createCipheriv = original
  syncBuiltinESMExports()
})

const { attributes, kek, multipart, place, run, SMALL } = await import('./fixtures.ts')
const { sealEnvelope } = await import('../../src/envelope/envelope.ts')
const { sealTail } = await import('../../src/envelope/manifest.ts')
const { DataKey } = await import('../../src/envelope/data-key.ts')
const { sealPartRecord, sealUploadRecord, uploadHash } = await import('../../src/envelope/upload-records.ts')
const { SingleSealer } = await import('../../src/envelope/body.ts')
const { SegmentSealer } = await import('../../src/envelope/stream.ts')
const { nativeCore, replaceNativeCore } = await import('../../src/native/core.ts')

const core = nativeCore()
t.teardown(() => {
  replaceNativeCore(core)
})

const derived = (secret: Buffer, salt: Buffer, info: Buffer): string => Buffer.from(hkdfSync('sha256', secret, salt, info, 32)).toString('hex')

/** The native core with the same recorder in front. */
function recording(native: NativeCore): NativeCore {
  const keys = new Map<NativeStream, string>()
  return {
    ...native,
    create: (secret, salt, info, sealing) => {
      const stream = native.create(secret, salt, info, sealing)
      if (sealing) keys.set(stream, derived(secret, salt, info))
      return stream
    },
    sealOnce: (secret, salt, info, nonce, ...rest) => {
      record(`${derived(secret, salt, info)} ${nonce.toString('hex')}`)
      native.sealOnce(secret, salt, info, nonce, ...rest)
    },
    begin: (stream, nonce) => {
      const key = keys.get(stream)
      if (key !== undefined) record(`${key} ${nonce.toString('hex')}`)
      native.begin(stream, nonce)
    }
  }
}

for (const native of core === null ? [null] : [null, recording(core)]) {
  await t.test(`no (key, nonce) pair repeats in attempts with the same keys and content, ${native === null ? 'TypeScript' : 'native'}`, async (t) => {
    used.clear()
    replaceNativeCore(native)
    const dataKey = DataKey.random()
    const key = kek()
    const plaintext = randomBytes(2000)
    const upload = uploadHash(place, 'u')
    const settings = { checksumAlgorithm: null, checksumType: null, etagMode: 'md5', storedChecksum: null } as const
    for (let attempt = 0; attempt < 200; attempt += 1) {
      run(() => new SingleSealer({ dataKey, plaintextSize: plaintext.length, geometry: SMALL }), plaintext)
      for (const number of [1, 2]) {
        const part = { kind: 'part', number, plaintextSize: plaintext.length } as const
        run(() => new SegmentSealer({ streamKey: dataKey.stream, part, segmentSize: SMALL.segmentSize }), plaintext)
      }
      const header = randomBytes(40)
      sealTail(dataKey, multipart([{ number: 1, plaintextSize: 5, header, md5: null, checksum: null }]))
      sealEnvelope(
        {
          kek: key,
          blob: Buffer.alloc(1),
          scope: 'bucket',
          dataKey,
          place,
          shape: { kind: 'single', streamHeader: header, plaintextSize: 5 },
          attributes: attributes()
        }
      )
      sealPartRecord(dataKey, upload, { number: 1, plaintextSize: 5, header, md5: null, checksum: null, upstreamEtag: '', inline: true })
      sealUploadRecord({
        kek: key,
        keyId: 'k',
        blob: Buffer.alloc(1),
        sse: 'none',
        scope: 'bucket',
        requestContext: {},
        dataKey,
        place,
        uploadId: 'u',
        settings
      })
    }
    t.equal(used.size, [...used.values()].reduce((sum, times) => sum + times, 0))
    t.ok(used.size > 200 * 3 * 14, 'the recorder saw the segments')
    t.comment(`${used.size} (key, nonce) pairs, 0 repeated`)
  })
}
