import { PutObjectCommand } from '@aws-sdk/client-s3'
import { createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { startRewrapRig } from '../support/rewrap-rig.ts'

interface Keyset {
  readonly primaryKeyId: number
  readonly key: readonly { readonly keyData: { readonly typeUrl: string; readonly value: string }; readonly outputPrefixType: string; readonly keyId: number }[]
}

/** Opens the first segment of a single as Tink's specification says, with nothing of src. */
function openWith(keyset: Keyset, stored: Buffer, size: number): Buffer {
  const value = Buffer.from(keyset.key[0]!.keyData.value, 'base64')
  t.equal(value.subarray(0, 10).toString('hex'), '1208088080041020' + '1803', 'segments of 65,536 bytes, derived keys of 32, HKDF with SHA-256')
  t.equal(value.subarray(10, 12).toString('hex'), '1a20')
  const associated = Buffer.concat([Buffer.from('sealgate'), Buffer.from([1, 1, 0, 1]), Buffer.alloc(8)])
  associated.writeBigUInt64BE(BigInt(size), 12)
  const key = Buffer.from(hkdfSync('sha256', value.subarray(12), stored.subarray(1, 33), associated, 32))
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.concat([stored.subarray(33, 40), Buffer.from([0, 0, 0, 0, 1])]), { authTagLength: 16 })
  decipher.setAuthTag(stored.subarray(40 + size, 56 + size))
  return Buffer.concat([decipher.update(stored.subarray(40, 40 + size)), decipher.final()])
}

await t.test('export-key prints a keyset that opens the object, warns, and is audited', async (t) => {
  const rig = await startRewrapRig(t)
  const body = Buffer.from('what Google\'s libraries read')
  const customerKey = Buffer.alloc(32, 7)
  const ssec = {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: customerKey.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(customerKey).digest('base64')
  }
  await rig.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'a/b c', Body: body }))
  await rig.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'theirs', Body: body, ...ssec }))
  const keyFile = `${rig.config}.key`
  await writeFile(keyFile, `${customerKey.toString('hex')}\n`)
  for (const [name, more] of [['a/b c', []], ['theirs', ['--customer-key-file', keyFile]]] as const) {
    const ran = await rig.run('export-key', '--tink-keyset', `bucket/${name}`, ...more)
    t.match(ran, { code: 0, err: /^WARNING: this is a key in plaintext\./ }, name)
    const keyset = JSON.parse(ran.out) as Keyset
    t.match(keyset, {
      primaryKeyId: 1,
      key: [{ keyId: 1, outputPrefixType: 'RAW', keyData: { typeUrl: 'type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey' } }]
    })
    const stored = await rig.store.object('bucket', name).body()
    t.same(openWith(keyset, stored, body.length), body, name)
    const told = readFileSync(rig.audit, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>).at(-1)
    t.match(told, { operation: 'export-key', principal: 'cli', bucket: 'bucket', key: name, action: 'unwrap', outcome: 'ok' })
    t.notOk(readFileSync(rig.audit, 'utf8').includes(keyset.key[0]!.keyData.value.slice(-40)), 'no key in the audit trail')
  }
  await rig.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'plain', Body: body }))
  await rig.store.object('bucket', 'plain').set({ metadata: {} })
  await writeFile(`${keyFile}.other`, Buffer.alloc(32, 8).toString('hex'))
  for (
    const [args, code, err] of [
      [['bucket/absent'], 1, /does not exist/],
      [['bucket/plain'], 1, /not written through the gateway/],
      [['bucket/theirs'], 1, /stored using a form of Server Side Encryption/],
      [['bucket/a/b c', '--customer-key-file', keyFile], 1, /not applicable/],
      [['bucket/theirs', '--customer-key-file', `${keyFile}.other`], 1, /^sealgate export-key: (?!WARNING)/],
      [['bucket/theirs', '--customer-key-file', rig.config], 2, /does not hold 32 bytes in hex/],
      [['bucket'], 2, /takes BUCKET\/OBJECT/],
      [['sealgate-state/x'], 2, /state bucket/]
    ] as const
  ) t.match(await rig.run('export-key', '--tink-keyset', ...args), { code, out: '', err }, args.join(' '))
})
