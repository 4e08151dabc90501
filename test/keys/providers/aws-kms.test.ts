import { inspect } from 'node:util'
import t from 'tap'
import { S3Error } from '../../../src/errors.ts'
import { KmsKeyProvider, type KmsProviderOptions } from '../../../src/keys/providers/aws-kms.ts'
import type { ServiceOutcome } from '../../../src/keys/service/errors.ts'
import { byTurns } from '../../support/by-turns.ts'
import { FakeKms, type Misbehaviour, refuse, send } from '../../support/fake-kms.ts'
import { keyContext, keyUse, otherContexts } from '../support.ts'
import { codeOf } from '../../support/error-code.ts'

const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
/** Short deadlines, and no circuit breaker in the way of tests that are not about it. */
const limits = { callMs: 1000, requestMs: 2500, retryMs: 5, breakerFailures: 1000 }
const context = keyContext({ requestContext: { a: '1' } })

function open(kms: FakeKms, arn: string, change: Partial<KmsProviderOptions> = {}): KmsKeyProvider {
  return new KmsKeyProvider({
    arn,
    decryptOnly: [],
    region: null,
    endpoint: kms.endpoint,
    credentials,
    limits,
    selfTestContext: keyContext(),
    ...change
  })
}

await t.test('what is wrapped unwraps, and only for the very same context', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const provider = open(kms, arn)
  t.teardown(() => provider.close())
  await provider.selfTest()
  const { key, wrapped } = await provider.generate(context, keyUse())
  t.equal(wrapped.keyId, arn)
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
  for (const other of otherContexts) {
    t.equal(await codeOf(provider.unwrap(wrapped, other, keyUse())), 'SealgateIntegrityError', JSON.stringify(other))
  }
  t.same(kms.calls.find((call) => call.operation === 'GenerateDataKey' && JSON.stringify(call.input).includes('"a":"1"'))?.input, {
    KeyId: arn,
    KeySpec: 'AES_256',
    EncryptionContext: { 'a': '1', 'aws:s3:arn': 'arn:aws:s3:::bucket', 'sealgate:realm': 'default' }
  })
  await provider.generate(keyContext({ objectKey: 'a/ü' }), keyUse())
  t.match(kms.calls.at(-1)?.input, { EncryptionContext: { 'aws:s3:arn': 'arn:aws:s3:::bucket/a/ü' } })
})

await t.test('reserved names of an encryption context never reach the service', async (t) => {
  const kms = await FakeKms.start(t)
  const provider = open(kms, kms.addKey())
  for (const name of ['aws:s3:arn', 'AWS:x', 'sealgate:realm']) {
    t.equal(await codeOf(provider.generate(keyContext({ requestContext: { [name]: 'x' } }), keyUse())), 'InvalidArgument', name)
  }
  t.equal(kms.calls.length, 0)
})

await t.test('every bit of a wrapped key counts', async (t) => {
  const kms = await FakeKms.start(t)
  const provider = open(kms, kms.addKey())
  t.teardown(() => provider.close())
  const { wrapped } = await provider.generate(context, keyUse())
  let accepted = 0
  let tampered = 0
  for (let bit = 0; bit < wrapped.blob.length * 8; bit++) {
    // One of every third byte, each of a byte by turns.
    const at = bit >> 3
    if (!byTurns(at % 3 === 0 && (bit & 7) === at % 8)) continue
    tampered += 1
    const blob = Buffer.from(wrapped.blob)
    blob.writeUInt8(blob.readUInt8(at) ^ (1 << (bit & 7)), at)
    if (await codeOf(provider.unwrap({ ...wrapped, blob }, context, keyUse())) !== 'SealgateIntegrityError') accepted += 1
  }
  t.equal(accepted, 0)
  t.comment(`${tampered} tampered KMS blobs, ${accepted} accepted`)
  const before = kms.calls.length
  for (const length of [0, 6145]) {
    t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: Buffer.alloc(length) }, context, keyUse())), 'SealgateIntegrityError')
  }
  t.equal(kms.calls.length, before, 'impossible lengths are not sent')
})

await t.test('re-wrapping stays inside the service; between regions it goes by decrypt and encrypt', async (t) => {
  const kms = await FakeKms.start(t)
  const [arn, old, far] = [kms.addKey(), kms.addKey(), kms.addKey('us-east-1')]
  const to = keyContext({ bucket: 'copy' })
  const provider = open(kms, arn, { decryptOnly: [old, far] })
  t.teardown(() => provider.close())
  for (const source of [arn, old, far]) {
    const writer = open(kms, source)
    const { key, wrapped } = await writer.generate(context, keyUse())
    await writer.close()
    kms.calls.length = 0
    const moved = await provider.rewrap(wrapped, context, to, keyUse())
    t.same(kms.calls.map((call) => call.operation), source === far ? ['Decrypt', 'Encrypt'] : ['ReEncrypt'])
    t.equal(moved.keyId, arn)
    t.ok((await provider.unwrap(moved, to, keyUse())).equals(key))
    t.equal(await codeOf(provider.rewrap(wrapped, to, to, keyUse())), 'SealgateIntegrityError')
  }
})

await t.test('keys come from the configuration alone', async (t) => {
  const kms = await FakeKms.start(t)
  const [arn, stranger] = [kms.addKey(), kms.addKey()]
  const provider = open(kms, arn)
  t.ok(provider.owns(arn))
  t.notOk(provider.owns(stranger))
  const wrapped = { keyId: stranger, blob: Buffer.alloc(184, 1) }
  await t.rejects(provider.unwrap(wrapped, context, keyUse()), { code: 'SealgateKeyUnavailable', message: new RegExp(stranger) })
  t.equal(await codeOf(provider.rewrap(wrapped, context, context, keyUse())), 'SealgateKeyUnavailable')
  t.equal(kms.calls.length, 0)
  for (const wrong of ['', 'alias/main', '1234abcd', 'arn:aws:kms:eu-west-1:111122223333:alias/main', `${arn}/x`, `x${arn}`]) {
    t.throws(() => open(kms, wrong), S3Error, wrong)
    t.throws(() => open(kms, arn, { decryptOnly: [wrong] }), S3Error, wrong)
  }
})

await t.test('each refusal of the service becomes S3\'s error, once, and names nothing secret', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const seen: [string, ServiceOutcome][] = []
  const provider = open(kms, arn, {
    metrics: {
      call: (operation, outcome) => {
        seen.push([operation, outcome])
      }
    }
  })
  t.teardown(() => provider.close())
  const rows: [string, string, ServiceOutcome, number][] = [
    ['DisabledException', 'KMS.DisabledException', 'disabled', 1],
    ['KMSInvalidStateException', 'KMS.KMSInvalidStateException', 'invalid-state', 1],
    ['InvalidKeyUsageException', 'KMS.KMSInvalidStateException', 'invalid-state', 1],
    ['NotFoundException', 'KMS.NotFoundException', 'gone', 1],
    ['AccessDeniedException', 'AccessDenied', 'denied', 1],
    ['UnrecognizedClientException', 'AccessDenied', 'denied', 1],
    ['InvalidCiphertextException', 'SealgateIntegrityError', 'wrong-context', 1],
    ['IncorrectKeyException', 'SealgateIntegrityError', 'wrong-key', 1],
    ['ValidationException', 'InternalError', 'rejected', 1],
    ['ThrottlingException', 'SlowDown', 'throttled', 3],
    ['KeyUnavailableException', 'ServiceUnavailable', 'unavailable', 3],
    ['DependencyTimeoutException', 'ServiceUnavailable', 'unavailable', 3],
    ['KMSInternalException', 'ServiceUnavailable', 'unavailable', 3],
    ['SomethingNewException', 'ServiceUnavailable', 'unavailable', 3]
  ]
  for (const [name, code, outcome, calls] of rows) {
    // The status is misleading on purpose: only the name counts.
    for (const status of [400, 403, 500]) {
      kms.misbehave = (_call, response) => {
        refuse(response, name, status)
        return true
      }
      kms.calls.length = 0
      seen.length = 0
      const fresh = open(kms, arn, {
        metrics: {
          call: (operation, kind) => {
            seen.push([operation, kind])
          }
        }
      })
      t.equal(await codeOf(fresh.generate(context, keyUse())), code, `${name} with ${status}`)
      t.same(seen, Array.from({ length: calls }, () => ['GenerateDataKey', outcome]))
      t.equal(kms.calls.length, calls)
      await fresh.close()
    }
  }
})

await t.test('key states: a disabled key stops both ways, an enabled one works again', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const provider = open(kms, arn)
  t.teardown(() => provider.close())
  const { key, wrapped } = await provider.generate(context, keyUse())
  kms.setState(arn, 'disabled')
  await t.rejects(provider.generate(context, keyUse()), { code: 'KMS.DisabledException', message: `${arn} is disabled.` })
  t.equal(await codeOf(provider.unwrap(wrapped, context, keyUse())), 'KMS.DisabledException')
  t.equal(await codeOf(provider.selfTest()), 'KMS.DisabledException')
  kms.setState(arn, 'pending-deletion')
  t.equal(await codeOf(provider.unwrap(wrapped, context, keyUse())), 'KMS.KMSInvalidStateException')
  kms.setState(arn, 'enabled')
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
})

await t.test('answers that cannot be are refused, and leave no key in the error', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const provider = open(kms, arn)
  t.teardown(() => provider.close())
  const { wrapped } = await provider.generate(context, keyUse())
  const secret = Buffer.alloc(32, 0x5a).toString('base64')
  const blob = wrapped.blob.toString('base64')
  const answers: [string, unknown, string][] = [
    ['another key', { KeyId: `${arn}x`, Plaintext: secret, CiphertextBlob: blob }, 'InternalError'],
    ['no key id', { Plaintext: secret, CiphertextBlob: blob }, 'InternalError'],
    ['31 bytes', { KeyId: arn, Plaintext: Buffer.alloc(31, 1).toString('base64'), CiphertextBlob: blob }, 'InternalError'],
    ['33 bytes', { KeyId: arn, Plaintext: Buffer.alloc(33, 1).toString('base64'), CiphertextBlob: blob }, 'InternalError'],
    ['zeros', { KeyId: arn, Plaintext: Buffer.alloc(32).toString('base64'), CiphertextBlob: blob }, 'InternalError'],
    ['no plaintext', { KeyId: arn, CiphertextBlob: blob }, 'InternalError'],
    ['cut JSON', `{"KeyId":"${arn}","Plaintext":"${secret}`, 'ServiceUnavailable'],
    ['no JSON', `<html>${secret}</html>`, 'ServiceUnavailable']
  ]
  for (const [name, answer, code] of answers) {
    kms.misbehave = (_call, response) => {
      send(response, 200, answer)
      return true
    }
    for (const work of [() => provider.generate(context, keyUse()), () => provider.unwrap(wrapped, context, keyUse())]) {
      const error = await work().then(() => null, (failure: unknown) => failure)
      t.equal((error as S3Error).code, code, name)
      t.notMatch(inspect(error, { depth: 10, showHidden: true }), secret.slice(0, 12), name)
    }
  }
  for (
    const [name, answer] of [['no blob', { KeyId: arn, Plaintext: secret }], ['long blob', {
      KeyId: arn,
      Plaintext: secret,
      CiphertextBlob: Buffer.alloc(6145).toString('base64')
    }]] as const
  ) {
    kms.misbehave = (_call, response) => {
      send(response, 200, answer)
      return true
    }
    t.equal(await codeOf(provider.generate(context, keyUse())), 'InternalError', name)
  }
  kms.misbehave = (_call, response) => {
    send(response, 200, { SourceKeyId: `${arn}x`, KeyId: arn, CiphertextBlob: blob })
    return true
  }
  t.equal(await codeOf(provider.rewrap(wrapped, context, context, keyUse())), 'InternalError', 're-encrypted by another key')
})

await t.test('a service that hangs, at any point of its answer, is given up in time', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const stalls: [string, Misbehaviour][] = [
    ['no answer', () => true],
    ['no body', (_call, response) => {
      response.writeHead(200, { 'content-length': 100 }).flushHeaders()
      return true
    }],
    ['half a body', (_call, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('{"KeyId')
      return true
    }],
    ['connection reset', (_call, response) => {
      response.destroy()
      return true
    }]
  ]
  for (const [name, stall] of stalls) {
    kms.misbehave = stall
    const provider = open(kms, arn, { limits: { ...limits, callMs: 60, requestMs: 150 } })
    t.equal(await codeOf(provider.generate(context, keyUse())), 'ServiceUnavailable', name)
    await provider.close()
  }
  const gone = open(kms, arn, { endpoint: 'http://127.0.0.1:1' })
  t.equal(await codeOf(gone.generate(context, keyUse())), 'ServiceUnavailable', 'nothing listens')
  kms.misbehave = null
  const provider = open(kms, arn)
  t.teardown(() => provider.close())
  t.ok((await provider.generate(context, keyUse())).key, 'and it is used again when it answers')
})

await t.test('a caller that leaves is let go at once and does not count as a failure', async (t) => {
  const kms = await FakeKms.start(t)
  kms.misbehave = () => true
  const calls: string[] = []
  const provider = open(kms, kms.addKey(), {
    limits: { ...limits, callMs: 60_000, requestMs: 60_000, breakerFailures: 1 },
    metrics: {
      call: (_operation, outcome) => {
        calls.push(outcome)
      }
    }
  })
  t.teardown(() => provider.close())
  const leave = new AbortController()
  const waiting = provider.generate(context, keyUse({ signal: leave.signal }))
  leave.abort(new Error('the client went away'))
  await t.rejects(waiting, { message: 'the client went away' })
  await t.rejects(provider.generate(context, keyUse({ signal: leave.signal })), { message: 'the client went away' })
  t.same([provider.heldBack(), calls], [[['eu-west-1', false]], []])
})

await t.test('the circuit breaker opens, lets one probe through at a time, and closes', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const provider = open(kms, arn, { limits: { ...limits, attempts: 1, breakerFailures: 3, breakerOpenMs: 50 } })
  t.teardown(() => provider.close())
  const { key, wrapped } = await provider.generate(context, keyUse())
  kms.calls.length = 0
  kms.misbehave = (_call, response) => {
    refuse(response, 'KMSInternalException', 500)
    return true
  }
  for (let i = 0; i < 100; i++) t.equal(await codeOf(provider.unwrap(wrapped, context, keyUse())), 'ServiceUnavailable')
  t.ok(kms.calls.length >= 3 && kms.calls.length < 100, `${kms.calls.length} calls for 100 requests`)
  t.same(provider.heldBack(), [['eu-west-1', true]])
  await new Promise((resolve) => setTimeout(resolve, 60))
  kms.calls.length = 0
  await Promise.all(Array.from({ length: 20 }, () => codeOf(provider.unwrap(wrapped, context, keyUse()))))
  t.equal(kms.calls.length, 1, 'one probe for 20 requests')
  t.same(provider.heldBack(), [['eu-west-1', true]], 'also while one is let through')
  await new Promise((resolve) => setTimeout(resolve, 60))
  kms.misbehave = null
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
  t.same(provider.heldBack(), [['eu-west-1', false]])
})

await t.test('refusals and throttling do not open the breaker', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const provider = open(kms, arn, { limits: { ...limits, breakerFailures: 2 } })
  t.teardown(() => provider.close())
  for (const name of ['DisabledException', 'ThrottlingException']) {
    kms.misbehave = (_call, response) => {
      refuse(response, name)
      return true
    }
    for (let i = 0; i < 5; i++) await codeOf(provider.generate(context, keyUse()))
    kms.misbehave = null
    t.equal(await codeOf(provider.generate(context, keyUse())), 'ok', name)
  }
})

await t.test('a throttled service gets at most a tenth more calls than there are requests', async (t) => {
  const kms = await FakeKms.start(t)
  const provider = open(kms, kms.addKey(), { limits: { ...limits, retryMs: 0 } })
  t.teardown(() => provider.close())
  kms.misbehave = (_call, response) => {
    refuse(response, 'ThrottlingException')
    return true
  }
  const requests = 300
  for (let i = 0; i < requests; i++) t.equal(await codeOf(provider.generate(context, keyUse())), 'SlowDown')
  const extra = kms.calls.length - requests
  t.ok(extra <= requests / 10 + 10, `${extra} extra calls`)
  t.comment(`${requests} throttled key requests, ${extra} retries`)
})

await t.test('a passing fault is retried and hidden', async (t) => {
  const kms = await FakeKms.start(t)
  const provider = open(kms, kms.addKey())
  t.teardown(() => provider.close())
  for (const name of ['ThrottlingException', 'KMSInternalException']) {
    let faults = 2
    kms.misbehave = (_call, response) => {
      if (faults-- <= 0) return false
      refuse(response, name)
      return true
    }
    t.equal(await codeOf(provider.generate(context, keyUse())), 'ok', name)
  }
})
